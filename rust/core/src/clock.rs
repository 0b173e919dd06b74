//! The segment's clock: boot time plus an offset that follows the wall clock with care.
//!
//! A difference of at most [`SMALL`] is followed at once (the windows never go back, since the
//! current word only rises). A larger one must last [`PATIENCE`] before it is believed: a step
//! forward is followed then; a step backward never is: windows go on by boot time and the clock
//! counts as distrusted, until the wall clock catches up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64 as StdAtomicU64, Ordering as StdOrdering};

use crate::layout::ClockWords;
use crate::platform;
use crate::primitive::Ordering;

/// Nanoseconds of a second.
pub const SECOND: u64 = 1_000_000_000;
/// Differences up to this many nanoseconds are followed at once.
const SMALL: i64 = 5 * SECOND as i64;
/// Nanoseconds for which a larger difference must last.
const PATIENCE: u64 = 10 * SECOND;
/// Reading both clocks may take this many nanoseconds; a slower pair says nothing.
const COHERENT: u64 = SECOND / 1_000;

/// Where time comes from.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The system's clocks.
    #[default]
    System,
    /// A clock that a test moves.
    Manual(Arc<ManualClock>),
}

/// A clock that stands still until it is moved. Nanoseconds throughout.
#[derive(Debug)]
pub struct ManualClock {
    boot: StdAtomicU64,
    wall: StdAtomicU64,
}

impl ManualClock {
    /// A clock whose wall time is `wall`.
    #[must_use]
    pub fn new(wall: u64) -> Self {
        Self { boot: StdAtomicU64::new(1_000 * SECOND), wall: StdAtomicU64::new(wall) }
    }

    /// Lets time go on.
    pub fn advance(&self, nanoseconds: u64) {
        self.boot.fetch_add(nanoseconds, StdOrdering::SeqCst);
        self.wall.fetch_add(nanoseconds, StdOrdering::SeqCst);
    }

    /// Sets the wall clock forward or back, as an operator would.
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
            Self::Manual(clock) => clock.boot.load(StdOrdering::SeqCst),
        }
    }

    /// Wall time less boot time, or `None` if the two could not be read close enough together.
    #[must_use]
    pub fn offset(&self) -> Option<i64> {
        match self {
            Self::System => {
                let before = platform::boot_nanoseconds();
                let wall = platform::wall_nanoseconds();
                let after = platform::boot_nanoseconds();
                (after - before <= COHERENT).then(|| wall as i64 - before as i64)
            }
            Self::Manual(clock) => {
                Some(clock.wall.load(StdOrdering::SeqCst) as i64 - self.boot() as i64)
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

    /// Looks at the wall clock and follows it where the rules allow. For the leader.
    pub fn discipline(&self, words: &ClockWords) {
        let Some(observed) = self.offset() else { return };
        let boot = self.boot();
        // Relaxed throughout: one leader writes, readers take each word by itself.
        let difference = observed.saturating_sub(words.offset.load(Ordering::Relaxed));
        words.skew.store(difference, Ordering::Relaxed);
        if difference.abs() <= SMALL {
            words.offset.store(observed, Ordering::Relaxed);
            words.suspected_at.store(0, Ordering::Relaxed);
            words.distrusted.store(0, Ordering::Relaxed);
            return;
        }
        words.distrusted.store(1, Ordering::Relaxed);
        let since = words.suspected_at.load(Ordering::Relaxed);
        let suspected = words.suspected_offset.load(Ordering::Relaxed);
        if since == 0 || observed.saturating_sub(suspected).abs() > SMALL {
            words.suspected_offset.store(observed, Ordering::Relaxed);
            words.suspected_at.store(boot.max(1), Ordering::Relaxed);
        } else if difference > 0 && boot.saturating_sub(since) >= PATIENCE {
            words.offset.store(observed, Ordering::Relaxed);
            words.suspected_at.store(0, Ordering::Relaxed);
            words.distrusted.store(0, Ordering::Relaxed);
        }
    }
}
