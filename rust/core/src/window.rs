//! The turn of the window: one central word, the arenas' states, and who is inside an arena.
//!
//! The current word names the window, its arena and the size of its first extent together, and
//! only rises. Whoever first has an id for a later window claims a free arena, confirms the old
//! one, and moves the word on by one compare-and-swap. Nothing is copied and no one waits.
//!
//! An arena goes `Free -> Tentative(w) -> Closed(w) -> Sealed(w) -> Free`:
//! * `Tentative(w)`: claimed for window `w`. It is the current arena if the word names it, and
//!   otherwise a claim that has not won (yet); any process may adopt or take back such a claim.
//! * `Closed(w)`: confirmed to be the arena of `w`, just before the word moves on.
//! * `Sealed(w)`: frozen, and its count stands in the ring.
//!
//! Entering is Dekker's pattern: a writer announces the arena, fences, and reads the word again;
//! who wants to reuse an arena takes it out of use, fences, and reads all announcements. At least
//! one of the two sees the other.

use crate::primitive::{AtomicU32, AtomicU64, Ordering, Site, fence, ordering, strong};
use crate::table::ArenaHeader;

/// Arenas of a segment.
pub const ARENAS: usize = if cfg!(loom) { 2 } else { 16 };

/// The current word: window number, size step of the first extent, arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word(pub u64);

impl Word {
    /// The word of `window`, whose first extent has the size of step `start`, in `arena`.
    #[must_use]
    pub fn new(window: u64, start: u8, arena: usize) -> Self {
        Self(window << 16 | u64::from(start) << 8 | arena as u64)
    }

    /// Number of the window: its start divided by its length.
    #[must_use]
    pub fn window(self) -> u64 {
        self.0 >> 16
    }

    /// Size step of the first extent; see [`buckets_of_step`].
    #[must_use]
    pub fn start(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// The arena.
    #[must_use]
    pub fn arena(self) -> usize {
        (self.0 & 0xff) as usize
    }
}

/// Buckets of size step `step`: four steps an octave, so that the step that holds a number of ids
/// is at most a quarter too large.
#[must_use]
pub fn buckets_of_step(step: u8) -> usize {
    (4 + usize::from(step & 3)) << (step >> 2)
}

/// The smallest step with at least `buckets` buckets.
#[must_use]
pub fn step_of_buckets(buckets: usize) -> u8 {
    (0..=u8::MAX)
        .take_while(|step| step >> 2 < 48)
        .find(|&step| buckets_of_step(step) >= buckets)
        .unwrap_or(4 * 47)
}

/// What an arena is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Zeroed and unused.
    Free,
    /// Claimed for a window.
    Tentative {
        /// Number of the window.
        window: u64,
    },
    /// Confirmed as the arena of a window.
    Closed {
        /// Number of the window.
        window: u64,
        /// Size step of its first extent.
        start: u8,
    },
    /// Frozen, with its record in the ring.
    Sealed {
        /// Number of the window.
        window: u64,
        /// Size step of its first extent.
        start: u8,
    },
}

impl State {
    const TENTATIVE: u64 = 1;
    const CLOSED: u64 = 2;
    const SEALED: u64 = 3;

    /// As it stands in the word.
    #[must_use]
    pub fn pack(self) -> u64 {
        match self {
            Self::Free => 0,
            Self::Tentative { window } => window << 16 | Self::TENTATIVE,
            Self::Closed { window, start } => {
                window << 16 | u64::from(start) << 8 | Self::CLOSED
            }
            Self::Sealed { window, start } => {
                window << 16 | u64::from(start) << 8 | Self::SEALED
            }
        }
    }

    /// From the word.
    #[must_use]
    pub fn unpack(word: u64) -> Self {
        let (window, start) = (word >> 16, (word >> 8) as u8);
        match word & 0xff {
            Self::TENTATIVE => Self::Tentative { window },
            Self::CLOSED => Self::Closed { window, start },
            Self::SEALED => Self::Sealed { window, start },
            _ => Self::Free,
        }
    }
}

/// The current word and the arenas' states.
#[derive(Clone, Copy, Debug)]
pub struct Turn<'a> {
    /// The current word.
    pub current: &'a AtomicU64,
    /// The arenas; at most [`ARENAS`].
    pub arenas: &'a [ArenaHeader],
}

impl Turn<'_> {
    /// The current word.
    #[inline]
    #[must_use]
    pub fn current(&self) -> Word {
        // Acquire: pairs with the AcqRel in `advance`; behind it the arena is ready.
        Word(self.current.load(Ordering::Acquire))
    }

    /// The state of an arena.
    #[must_use]
    pub fn state(&self, arena: usize) -> State {
        // Acquire: pairs with the Release of the step that led to the state.
        State::unpack(self.arenas[arena].state.load(Ordering::Acquire))
    }

    /// Takes an arena from one state to the next; false if it was not in `from`.
    pub fn step(&self, arena: usize, from: State, to: State) -> bool {
        // AcqRel: Release pairs with the Acquire in `state` and here; what was done to the arena
        // before the step is seen by whoever acts on it.
        let release = match to {
            State::Free => ordering(Site::FreeArena, Ordering::AcqRel),
            _ => Ordering::AcqRel,
        };
        self.arenas[arena]
            .state
            .compare_exchange(from.pack(), to.pack(), release, Ordering::Acquire)
            .is_ok()
    }

    /// An arena for `window`: one that somebody claimed for it already, or the free one with the
    /// most storage behind it. `None` when there is none.
    #[must_use]
    pub fn claim(&self, window: u64) -> Option<usize> {
        let tentative = State::Tentative { window };
        loop {
            let states = || (0..self.arenas.len()).map(|arena| (arena, self.state(arena)));
            if let Some((arena, _)) = states().find(|&(_, state)| state == tentative) {
                return Some(arena);
            }
            let (arena, _) = states().filter(|&(_, state)| state == State::Free).max_by_key(
                |&(arena, _)| {
                    // Relaxed: a preference, no more.
                    let reserved = self.arenas[arena].reserved.load(Ordering::Relaxed);
                    (reserved, core::cmp::Reverse(arena))
                },
            )?;
            if self.step(arena, State::Free, tentative) {
                return Some(arena);
            }
        }
    }

    /// Takes back a claim that can no longer win: the word has reached its window and names
    /// another arena. Any process may call this for any claim.
    pub fn take_back(&self, arena: usize) {
        let state = self.state(arena);
        if let State::Tentative { window } = state {
            let word = self.current();
            if word.window() >= window && (word.window() != window || word.arena() != arena) {
                self.step(arena, state, State::Free);
            }
        }
    }

    /// Confirms the arena that `word` names. Must come before the word moves on: a claim that the
    /// word passed unconfirmed would be taken back, and its ids with it.
    pub fn confirm(&self, word: Word) {
        if strong(Site::ConfirmBeforeMove) {
            self.step(
                word.arena(),
                State::Tentative { window: word.window() },
                State::Closed { window: word.window(), start: word.start() },
            );
        }
    }

    /// Moves the word on; false if somebody else did.
    pub fn advance(&self, from: Word, to: Word) -> bool {
        debug_assert!(to.window() > from.window());
        // AcqRel: Release pairs with the Acquire in `current`: the claimed arena's storage and
        // zeroes are seen by whoever enters. Acquire pairs with the same, for the chain of moves.
        self.current
            .compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

/// Who is inside which arena, of one process: a cache line of its own, one count an arena.
///
/// While a count of a live process is not zero, the arena is not zeroed or reused.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Announcements {
    counts: [AtomicU32; ARENAS],
}

impl Default for Announcements {
    fn default() -> Self {
        Self { counts: core::array::from_fn(|_| AtomicU32::new(0)) }
    }
}

impl Announcements {
    /// Announces `arena`; whatever is read after this decides whether one may stay.
    #[inline]
    pub fn announce(&self, arena: usize) {
        // Relaxed with a SeqCst fence: pairs with the fence in `alone`. Either the announcement is
        // seen there, or the step out of use (and so the moved word) is seen here.
        self.counts[arena].fetch_add(1, Ordering::Relaxed);
        if strong(Site::EnterFence) {
            fence(Ordering::SeqCst);
        }
    }

    /// Leaves `arena`.
    #[inline]
    pub fn leave(&self, arena: usize) {
        // Release: pairs with the Acquire in `alone`; what was done inside is done before.
        self.counts[arena].fetch_sub(1, Ordering::Release);
    }

    /// Enters the arena of the current word, or returns the word that it has become.
    #[inline]
    pub fn enter(&self, turn: Turn<'_>, word: Word) -> Result<(), Word> {
        self.announce(word.arena());
        let now = turn.current();
        if now == word || !strong(Site::EnterRecheck) {
            return Ok(());
        }
        self.leave(word.arena());
        Err(now)
    }

    /// Threads of the process that announce `arena`.
    #[must_use]
    pub fn count(&self, arena: usize) -> u32 {
        // Acquire: pairs with the Release in `leave`.
        self.counts[arena].load(Ordering::Acquire)
    }

    /// Forgets all announcements of a process that is dead; only the holder of its lock may.
    pub fn bury(&self) {
        for count in &self.counts {
            // Release: pairs with the Acquire in `count`, as a `leave` of the dead would.
            count.store(0, Ordering::Release);
        }
    }
}

/// Whether the caller, who announces `arena` once in `own`, is alone there: no other thread and no
/// other live process announces it. `others` says for each further slot whether it does, dead
/// processes left out. Ask after a step that newcomers see (see [`Announcements::enter`]).
pub fn alone(own: &Announcements, arena: usize, others: impl FnOnce() -> bool) -> bool {
    if strong(Site::ReuseFence) {
        fence(Ordering::SeqCst);
    }
    own.count(arena) == 1 && !others()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{State, Word, buckets_of_step, step_of_buckets};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn words_and_states_keep_what_they_name(window in 0_u64..1 << 48, start: u8, arena in 0_usize..16) {
            let word = Word::new(window, start, arena);
            prop_assert_eq!((word.window(), word.start(), word.arena()), (window, start, arena));
            for state in [
                State::Free,
                State::Tentative { window },
                State::Closed { window, start },
                State::Sealed { window, start },
            ] {
                prop_assert_eq!(State::unpack(state.pack()), state);
            }
        }

        #[test]
        fn the_word_rises_with_the_window(window in 0_u64..1 << 47, starts: (u8, u8), arenas in (0_usize..16, 0_usize..16)) {
            prop_assert!(Word::new(window + 1, starts.0, arenas.0).0 > Word::new(window, starts.1, arenas.1).0);
        }

        #[test]
        fn a_step_is_at_most_a_quarter_too_large(buckets in 16_usize..1 << 40) {
            let found = buckets_of_step(step_of_buckets(buckets));
            prop_assert!(found >= buckets && found <= buckets + buckets / 4 + 1);
        }
    }
}
