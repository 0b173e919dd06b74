//! The segment's clock: boot time plus an offset. The offset follows the wall clock, or a reference that
//! many hosts share.
//!
//! The clock follows a difference of at most 5 s at once. (Windows never go back, since the current word
//! only rises.) A larger difference must last 10 s. Then the clock follows a step forward. It never
//! follows a step backward: windows go on by boot time, and the clock counts as distrusted until the wall
//! clock, or the reference, has caught up.

use std::sync::Arc;
use std::sync::atomic::{
    AtomicI64 as StdAtomicI64, AtomicU64 as StdAtomicU64, Ordering as StdOrdering,
};

use crate::platform;
use crate::segment::layout::ClockWords;
use crate::sync::Ordering;

/// Nanoseconds of a second.
pub const SECOND: u64 = 1_000_000_000;
/// Largest difference in nanoseconds that is followed at once.
const STEP_THRESHOLD: i64 = 5 * SECOND as i64;
/// Nanoseconds for which a larger difference must last.
const STEP_CONFIRMATION: u64 = 10 * SECOND;
/// Longest time in nanoseconds for a reading of both clocks. A slower pair is not used.
const LONGEST_READING: u64 = SECOND / 1_000;

/// Bound in nanoseconds on how far the coarse clock is behind.
const TICK: u64 = SECOND / 50;
/// Longest time in nanoseconds for which a window is cached, so that the end of a suspension, during
/// which the coarse clock stands still, is soon seen.
const CACHED_FOR: u64 = SECOND / 10;

/// The window that a process saw last, and how long it is certain. A reading of the exact clock waits
/// for all loads before it, and so delays an insert by several times its own 24 ns.
#[derive(Debug, Default)]
pub(crate) struct CachedWindow {
    window: StdAtomicU64,
    offset: StdAtomicI64,
    /// By the coarse clock.
    until: StdAtomicU64,
}

impl CachedWindow {
    /// Lets the clock be read again after at most `pause` nanoseconds.
    pub(crate) fn expire_within(&self, pause: u64) {
        self.until.fetch_min(platform::coarse_nanoseconds() + pause, StdOrdering::Relaxed);
    }
}

/// The window of the segment's time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WindowReading {
    /// Number of the window.
    pub(crate) window: u64,
    /// Whether the clock was read for it: now and then. Otherwise the window was cached.
    pub(crate) is_fresh: bool,
}

/// The source of time.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The system's clocks.
    #[default]
    System,
    /// A clock that a test moves.
    Manual(Arc<ManualClock>),
}

/// A clock that stands still until it is moved. All times are in nanoseconds.
#[derive(Debug)]
pub struct ManualClock {
    boot: StdAtomicU64,
    wall: StdAtomicU64,
}

impl ManualClock {
    /// A clock whose wall time is `wall`, 1,000 seconds after its boot.
    #[must_use]
    pub fn new(wall: u64) -> Self {
        Self::booted(wall, 1_000 * SECOND)
    }

    /// A clock whose wall time is `wall`, `boot` after its boot.
    #[must_use]
    pub fn booted(wall: u64, boot: u64) -> Self {
        Self { boot: StdAtomicU64::new(boot), wall: StdAtomicU64::new(wall) }
    }

    /// Time since its boot.
    #[must_use]
    pub fn boot(&self) -> u64 {
        self.boot.load(StdOrdering::SeqCst)
    }

    /// Moves boot time and wall time forward.
    pub fn advance(&self, nanoseconds: u64) {
        self.boot.fetch_add(nanoseconds, StdOrdering::SeqCst);
        self.wall.fetch_add(nanoseconds, StdOrdering::SeqCst);
    }

    /// Sets the wall clock forward or back.
    pub fn step(&self, nanoseconds: i64) {
        self.wall.fetch_add(nanoseconds as u64, StdOrdering::SeqCst);
    }
}

impl Clock {
    /// Boot time.
    #[inline]
    #[must_use]
    pub fn boot(&self) -> u64 {
        match self {
            Self::System => platform::boot_nanoseconds(),
            Self::Manual(clock) => clock.boot(),
        }
    }

    /// Wall time minus boot time. `None` if the two could not be read close enough together.
    #[must_use]
    pub fn offset(&self) -> Option<i64> {
        match self {
            Self::System => {
                let before = platform::boot_nanoseconds();
                let wall = platform::wall_nanoseconds();
                let after = platform::boot_nanoseconds();
                (after - before <= LONGEST_READING).then(|| wall as i64 - before as i64)
            }
            Self::Manual(clock) => {
                Some(clock.wall.load(StdOrdering::SeqCst) as i64 - self.boot() as i64)
            }
        }
    }

    /// As [`Clock::offset`]. Repeats the reading until the clocks were read close enough together.
    #[must_use]
    pub fn settled_offset(&self) -> i64 {
        loop {
            if let Some(offset) = self.offset() {
                return offset;
            }
        }
    }

    /// The segment's time: nanoseconds since the epoch.
    #[inline]
    #[must_use]
    pub fn now(&self, words: &ClockWords) -> u64 {
        // Relaxed: the offset is a value by itself.
        self.boot().wrapping_add_signed(words.offset.load(Ordering::Relaxed))
    }

    /// The window of the segment's time, for windows of `length` nanoseconds. `cached_window` keeps it for as
    /// long as it is certain.
    #[inline]
    pub(crate) fn window(
        &self,
        words: &ClockWords,
        length: u64,
        cached_window: &CachedWindow,
    ) -> WindowReading {
        if let Self::Manual(_) = self {
            return WindowReading { window: self.now(words) / length, is_fresh: true };
        }
        let coarse = platform::coarse_nanoseconds();
        let offset = words.offset.load(Ordering::Relaxed);
        if coarse < cached_window.until.load(StdOrdering::Relaxed)
            && offset == cached_window.offset.load(StdOrdering::Relaxed)
        {
            return WindowReading {
                window: cached_window.window.load(StdOrdering::Relaxed),
                is_fresh: false,
            };
        }
        let now = self.now(words);
        let window = now / length;
        let certain = (length - now % length).saturating_sub(TICK).min(CACHED_FOR);
        // Two threads may mix their values. By then the current word is that of the later window, and the
        // number of the earlier one changes nothing for a thread that reads that word.
        cached_window.window.store(window, StdOrdering::Relaxed);
        cached_window.offset.store(offset, StdOrdering::Relaxed);
        cached_window.until.store(coarse + certain, StdOrdering::Relaxed);
        WindowReading { window, is_fresh: true }
    }

    /// Reads the wall clock and follows it where the rules allow. For the leader.
    pub fn discipline(&self, words: &ClockWords) {
        if let Some(observed) = self.offset() {
            self.follow(words, observed);
        }
    }

    /// Follows a source of time that is `observed` nanoseconds ahead of boot time, where the rules allow.
    /// Returns whether it did.
    pub(crate) fn follow(&self, words: &ClockWords, observed: i64) -> bool {
        let boot = self.boot();
        // Relaxed throughout: readers take each word by itself. Mostly one leader writes. One that was
        // stopped here does not undo what others have followed since.
        let offset = words.offset.load(Ordering::Relaxed);
        let follow = || {
            let moved = words.offset.compare_exchange(
                offset,
                observed,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            words.suspected_at.store(0, Ordering::Relaxed);
            words.distrusted.store(0, Ordering::Relaxed);
            moved.is_ok()
        };
        let difference = observed.saturating_sub(offset);
        words.skew.store(difference, Ordering::Relaxed);
        if difference.saturating_abs() <= STEP_THRESHOLD {
            return follow();
        }
        words.distrusted.store(1, Ordering::Relaxed);
        let since = words.suspected_at.load(Ordering::Relaxed);
        let suspected = words.suspected_offset.load(Ordering::Relaxed);
        if since == 0 || observed.saturating_sub(suspected).saturating_abs() > STEP_THRESHOLD {
            words.suspected_offset.store(observed, Ordering::Relaxed);
            words.suspected_at.store(boot.max(1), Ordering::Relaxed);
        } else if difference > 0 && boot.saturating_sub(since) >= STEP_CONFIRMATION {
            return follow();
        }
        false
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    fn words(offset: i64) -> ClockWords {
        ClockWords {
            offset: offset.into(),
            suspected_at: 0.into(),
            suspected_offset: 0.into(),
            distrusted: 0.into(),
            skew: 0.into(),
            reference: 0.into(),
        }
    }

    /// Reads the window for so many nanoseconds, and until it was fresh twice. Returns how often it
    /// was fresh and cached.
    fn read_for(
        nanoseconds: u64,
        words: &ClockWords,
        length: u64,
        cached: &CachedWindow,
    ) -> (u64, u64) {
        let clock = Clock::System;
        let (mut fresh, mut kept) = (0, 0);
        let end = clock.now(words) + nanoseconds;
        loop {
            let before = clock.now(words);
            let reading = clock.window(words, length, cached);
            let after = clock.now(words);
            // A window is never kept past its end, nor told before it begins.
            assert!((before / length..=after / length).contains(&reading.window));
            *(if reading.is_fresh { &mut fresh } else { &mut kept }) += 1;
            if after > end && fresh >= 2 {
                return (fresh, kept);
            }
        }
    }

    #[test]
    fn the_offset_is_wall_time_minus_boot_time() {
        let wall_before = platform::wall_nanoseconds() as i64;
        let boot_before = platform::boot_nanoseconds() as i64;
        let offset = Clock::System.settled_offset();
        let boot_after = platform::boot_nanoseconds() as i64;
        let wall_after = platform::wall_nanoseconds() as i64;
        assert!((wall_before - boot_after..=wall_after - boot_before).contains(&offset));
        // It takes far less than the longest time, unless another thread has the processor.
        assert!((0..1_000).filter(|_| Clock::System.offset().is_some()).count() > 500);
    }

    #[test]
    fn a_step_that_moves_a_little_is_the_same_step() {
        let manual = Arc::new(ManualClock::new(100 * SECOND));
        let clock = Clock::Manual(Arc::clone(&manual));
        let words = words(0);
        let step = 3_600 * SECOND as i64;
        assert!(!clock.follow(&words, step));
        manual.advance(SECOND);
        assert!(!clock.follow(&words, step + STEP_THRESHOLD));
        manual.advance(STEP_CONFIRMATION - SECOND);
        assert!(clock.follow(&words, step + STEP_THRESHOLD));
        // One that moves more is another one, and has to last from then on.
        assert!(!clock.follow(&words, 3 * step));
        manual.advance(SECOND);
        assert!(!clock.follow(&words, 3 * step + STEP_THRESHOLD + 1));
        manual.advance(STEP_CONFIRMATION - SECOND);
        assert!(!clock.follow(&words, 3 * step + STEP_THRESHOLD + 1));
        manual.advance(SECOND);
        assert!(clock.follow(&words, 3 * step + STEP_THRESHOLD + 1));
    }

    #[test]
    fn a_cached_window_is_that_of_the_clock() {
        let words = words(Clock::System.settled_offset());
        let cached = CachedWindow::default();
        let (_, kept) = read_for(SECOND, &words, SECOND / 5, &cached);
        assert!(kept > 0);
        // Shorter than the coarse clock can be behind: nothing is certain.
        let (_, kept) = read_for(SECOND / 10, &words, TICK / 2, &CachedWindow::default());
        assert_eq!(kept, 0);
    }

    #[test]
    fn a_cached_window_is_read_again() {
        let words = words(Clock::System.settled_offset());
        let (cached, length) = (CachedWindow::default(), 3_600 * SECOND);
        let read = || Clock::System.window(&words, length, &cached);
        assert!(read().is_fresh);
        let first = read();
        // The offset may have moved by more than a window.
        words.offset.fetch_add(2 * length as i64, Ordering::Relaxed);
        let moved = read();
        assert!(moved.is_fresh);
        assert_eq!(moved.window, first.window + 2);
        // A window of an hour is certain for long, and kept for a tenth of a second at most.
        let begun = platform::boot_nanoseconds();
        let (fresh, kept) = read_for(SECOND / 2, &words, length, &cached);
        let passed = platform::boot_nanoseconds() - begun;
        assert!(fresh <= passed / CACHED_FOR + 2 && kept > 0, "{fresh} {kept}");
        cached.expire_within(0);
        assert!(read().is_fresh);
        cached.expire_within(SECOND);
        cached.expire_within(CACHED_FOR / 2);
        let until = cached.until.load(StdOrdering::Relaxed);
        assert!(until <= platform::coarse_nanoseconds() + CACHED_FOR / 2);
        assert!(until > platform::coarse_nanoseconds().saturating_sub(SECOND));
    }
}
