//! The words of a window: the central current word, and the state of an arena.
//!
//! The current word names the window, its arena and the size of its first extent together, and only
//! rises. [`crate::window::rollover`] changes these words.
//!
//! An arena goes `Free -> Claimed(w) -> Confirmed(w) -> Sealed(w) -> Clearing(w) -> Free`:
//! * `Claimed(w)`: claimed for window `w`. It is the current arena if the word names it. Otherwise it is
//!   a claim that has not won (yet), and any process may adopt it or take it back.
//! * `Confirmed(w)`: confirmed to be the arena of `w`, just before the word moves on.
//! * `Sealed(w)`: frozen, and its count is in the ring.
//! * `Clearing(w)`: no thread may enter. The only thread that has pinned the arena zeroes it. If that
//!   thread dies, another one starts over.

/// Arenas of a segment.
pub const ARENAS: usize = if cfg!(any(loom, shuttle)) { 3 } else { 16 };

/// The current word: window number, size step of the first extent, arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CurrentWord(pub u64);

impl CurrentWord {
    /// The word of `window`, whose first extent has the size of step `size_step`, in `arena`.
    #[must_use]
    pub fn new(window: u64, size_step: u8, arena: usize) -> Self {
        Self(window << 16 | u64::from(size_step) << 8 | arena as u64)
    }

    /// Number of the window: its start divided by its length.
    #[must_use]
    pub fn window(self) -> u64 {
        self.0 >> 16
    }

    /// Size step of the first extent; see [`buckets_of_step`].
    #[must_use]
    pub fn size_step(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// The arena.
    #[must_use]
    pub fn arena(self) -> usize {
        (self.0 & 0xff) as usize
    }
}

/// Buckets of size step `step`: four steps per octave, so that the smallest step for a number of ids is
/// at most a quarter too large.
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

/// The state of an arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArenaState {
    /// Zeroed and unused.
    Free,
    /// Claimed for a window.
    Claimed {
        /// Number of the window.
        window: u64,
    },
    /// Confirmed as the arena of a window.
    Confirmed {
        /// Number of the window.
        window: u64,
        /// Size step of its first extent.
        size_step: u8,
    },
    /// Frozen, and its record is in the ring.
    Sealed {
        /// Number of the window.
        window: u64,
        /// Size step of its first extent.
        size_step: u8,
    },
    /// About to be zeroed.
    Clearing {
        /// Number of the window.
        window: u64,
        /// Size step of its first extent.
        size_step: u8,
    },
}

impl ArenaState {
    const CLAIMED: u64 = 1;
    const CONFIRMED: u64 = 2;
    const SEALED: u64 = 3;
    const CLEARING: u64 = 4;

    /// The word that stands for the state.
    #[must_use]
    pub fn pack(self) -> u64 {
        match self {
            Self::Free => 0,
            Self::Claimed { window } => window << 16 | Self::CLAIMED,
            Self::Confirmed { window, size_step } => {
                window << 16 | u64::from(size_step) << 8 | Self::CONFIRMED
            }
            Self::Sealed { window, size_step } => {
                window << 16 | u64::from(size_step) << 8 | Self::SEALED
            }
            Self::Clearing { window, size_step } => {
                window << 16 | u64::from(size_step) << 8 | Self::CLEARING
            }
        }
    }

    /// The state that `word` stands for.
    #[must_use]
    pub fn unpack(word: u64) -> Self {
        let (window, size_step) = (word >> 16, (word >> 8) as u8);
        match word & 0xff {
            Self::CLAIMED => Self::Claimed { window },
            Self::CONFIRMED => Self::Confirmed { window, size_step },
            Self::SEALED => Self::Sealed { window, size_step },
            Self::CLEARING => Self::Clearing { window, size_step },
            _ => Self::Free,
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::{ArenaState, CurrentWord, buckets_of_step, step_of_buckets};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn words_and_states_keep_what_they_name(window in 0_u64..1 << 48, size_step: u8, arena in 0_usize..16) {
            let word = CurrentWord::new(window, size_step, arena);
            prop_assert_eq!((word.window(), word.size_step(), word.arena()), (window, size_step, arena));
            for state in [
                ArenaState::Free,
                ArenaState::Claimed { window },
                ArenaState::Confirmed { window, size_step },
                ArenaState::Sealed { window, size_step },
                ArenaState::Clearing { window, size_step },
            ] {
                prop_assert_eq!(ArenaState::unpack(state.pack()), state);
            }
        }

        #[test]
        fn the_word_rises_with_the_window(window in 0_u64..1 << 47, starts: (u8, u8), arenas in (0_usize..16, 0_usize..16)) {
            prop_assert!(CurrentWord::new(window + 1, starts.0, arenas.0).0 > CurrentWord::new(window, starts.1, arenas.1).0);
        }

        #[test]
        fn a_step_is_at_most_a_quarter_too_large(buckets in 16_usize..1 << 40) {
            let found = buckets_of_step(step_of_buckets(buckets));
            prop_assert!(found >= buckets && found <= buckets + buckets / 4 + 1);
        }
    }
    #[test]
    fn a_number_of_buckets_that_no_step_reaches_gets_a_large_one() {
        assert_eq!(step_of_buckets(usize::MAX), 4 * 47);
        assert_eq!(step_of_buckets(buckets_of_step(4 * 47 + 3)), 4 * 47 + 3);
        assert_eq!(step_of_buckets(buckets_of_step(4 * 47 + 3) + 1), 4 * 47);
    }
}
