//! The turn of the window: one central word, and the way of an arena from claim to reuse.
//!
//! Whoever first has an id for a later window claims a free arena, confirms the old one, and moves
//! the current word on by one compare-and-swap. Nothing is copied and no one waits.
//!
//! Every step may be made by any number of threads and processes at once, and each may be killed
//! or stopped anywhere: what is half done is taken up or taken back by whoever comes next.

use crate::sync::{AtomicU64, Ordering, Site, ordering, strong};
use crate::table::ArenaHeader;
use crate::window::pins::Pins;
use crate::window::word::{ArenaState, CurrentWord};

/// The current word and the arenas' states.
#[derive(Clone, Copy, Debug)]
pub struct Rollover<'a> {
    /// The current word.
    pub current: &'a AtomicU64,
    /// The arenas; at most [`crate::window::word::ARENAS`].
    pub arenas: &'a [ArenaHeader],
}

/// What became of a window that was to be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealOutcome {
    /// It is sealed, by the caller or by somebody else.
    Sealed,
    /// Its state changed under the caller's hands: look again.
    StateChanged,
    /// `seal` has not come to its end.
    Unfinished,
    /// It has no arena: it never had one, or was sealed, published and cleared.
    NoArena,
}

impl Rollover<'_> {
    /// The current word.
    #[inline]
    #[must_use]
    pub fn current(&self) -> CurrentWord {
        // Acquire: pairs with the AcqRel in `advance`; behind it the arena is ready.
        CurrentWord(self.current.load(Ordering::Acquire))
    }

    /// The state of an arena.
    #[must_use]
    pub fn state(&self, arena: usize) -> ArenaState {
        // Acquire: pairs with the AcqRel of the step that led to the state.
        ArenaState::unpack(self.arenas[arena].state.load(Ordering::Acquire))
    }

    /// All arenas with their states, each as it was when it was looked at.
    pub fn states(&self) -> impl Iterator<Item = (usize, ArenaState)> {
        (0..self.arenas.len()).map(|arena| (arena, self.state(arena)))
    }

    /// Enters the arena of `word` if that is still the current word, or returns what it is now.
    #[inline]
    pub fn enter(&self, own: &Pins, word: CurrentWord) -> Result<(), CurrentWord> {
        let mut now = word;
        let entered = own.enter_if(word.arena(), || {
            now = self.current();
            now == word
        });
        if entered { Ok(()) } else { Err(now) }
    }

    /// Enters `arena` if it is still in `state`.
    #[must_use]
    pub fn enter_in(&self, own: &Pins, arena: usize, state: ArenaState) -> bool {
        own.enter_if(arena, || self.state(arena) == state)
    }

    /// Moves the current word to `window`, unless it is there or beyond; false when there is no
    /// arena for it. `reserve` puts storage behind the first extent of a new table in the arena that
    /// it is given, for the window after the word that it is given, and returns the extent's step.
    ///
    /// # Errors
    /// Those of `reserve`.
    pub fn open<E>(
        &self,
        own: &Pins,
        window: u64,
        mut reserve: impl FnMut(usize, CurrentWord) -> Result<u8, E>,
    ) -> Result<bool, E> {
        loop {
            let word = self.current();
            if word.window() >= window {
                return Ok(true);
            }
            self.confirm(word);
            let Some(arena) = self.claim(window) else {
                if self.current() == word {
                    return Ok(false);
                }
                continue;
            };
            // Announced, so that nobody clears the arena while storage is put behind it.
            if !self.enter_in(own, arena, ArenaState::Claimed { window }) {
                continue;
            }
            let inside = own.inside(arena);
            let moved = reserve(arena, word)
                .map(|size_step| self.advance(word, CurrentWord::new(window, size_step, arena)));
            drop(inside);
            if moved? {
                return Ok(true);
            }
            self.take_back(arena);
        }
    }

    /// Runs `seal`, which freezes, writes the record and says whether it came to its end, in the arena of
    /// `window`, a window that the current word has passed; unless that was done before. While the window
    /// is not sealed, its arena is not cleared: `seal` may go on at the next call.
    pub fn seal(
        &self,
        own: &Pins,
        window: u64,
        seal: impl FnOnce(usize, u8) -> bool,
    ) -> SealOutcome {
        let found = self.states().find_map(|(arena, state)| match state {
            ArenaState::Confirmed { window: its, size_step } if its == window => {
                Some((arena, size_step, SealOutcome::StateChanged))
            }
            ArenaState::Sealed { window: its, size_step }
            | ArenaState::Clearing { window: its, size_step }
                if its == window =>
            {
                Some((arena, size_step, SealOutcome::Sealed))
            }
            _ => None,
        });
        match found {
            None => SealOutcome::NoArena,
            Some((_, _, SealOutcome::Sealed)) => SealOutcome::Sealed,
            Some((arena, size_step, _)) => {
                let closed = ArenaState::Confirmed { window, size_step };
                if !self.enter_in(own, arena, closed) {
                    return SealOutcome::StateChanged;
                }
                let _inside = own.inside(arena);
                let is_done = seal(arena, size_step);
                if is_done {
                    self.step(arena, closed, ArenaState::Sealed { window, size_step });
                }
                if is_done { SealOutcome::Sealed } else { SealOutcome::Unfinished }
            }
        }
    }

    /// Frees `arena`, if nobody is inside and its window is `clearable` or one before, all of which
    /// are published: runs `zero`, which makes the table as new and says whether that went well.
    /// `others` is as in [`Pins::alone`].
    ///
    /// Two things would be fatal: that somebody enters while the arena is zeroed, and that two zero
    /// it, the second when it is in use again. The first is kept out by the step to `Clearing`
    /// before the announcements are read; the second by the announcement of whoever zeroes, which
    /// all others see, if they read it before they read the state.
    pub fn clear(
        &self,
        own: &Pins,
        arena: usize,
        clearable: u64,
        mut others: impl FnMut() -> bool,
        zero: impl FnOnce(u8) -> bool,
    ) {
        self.take_back(arena);
        if let closed @ ArenaState::Confirmed { window, size_step } = self.state(arena)
            && window <= clearable
        {
            // A claim that lost, and that somebody with an old word in hand confirmed. The arena that
            // the word named was cleared before, so its window is `clearable`.
            self.step(arena, closed, ArenaState::Sealed { window, size_step });
        }
        let state = self.state(arena);
        let (ArenaState::Sealed { window, size_step } | ArenaState::Clearing { window, size_step }) =
            state
        else {
            return;
        };
        if window > clearable {
            return;
        }
        let clearing = ArenaState::Clearing { window, size_step };
        own.pin(arena);
        let _inside = own.inside(arena);
        // Also before the step: a reader who holds the window may go in and out as he likes.
        let mut ours = own.alone(arena, &mut others);
        if ours && state == clearing {
            // Whoever stepped there is gone: dead, or done. The state tells which.
            ours = !strong(Site::ReuseRecheck) || self.state(arena) == clearing;
        } else if ours && strong(Site::ClearBeforeZero) {
            ours = self.step(arena, state, clearing);
            if ours && !own.alone(arena, &mut others) {
                self.step(arena, clearing, state);
                ours = false;
            }
        }
        if ours && zero(size_step) {
            let from = if strong(Site::ClearBeforeZero) { clearing } else { state };
            self.step(arena, from, ArenaState::Free);
        }
    }

    /// Takes an arena from one state to the next; false if it was not in `from`.
    fn step(&self, arena: usize, from: ArenaState, to: ArenaState) -> bool {
        // AcqRel: Release pairs with the Acquire in `state` and here; what was done to the arena
        // before the step is seen by whoever acts on it.
        let release = match to {
            ArenaState::Free => ordering(Site::FreeArena, Ordering::AcqRel),
            _ => Ordering::AcqRel,
        };
        self.arenas[arena]
            .state
            .compare_exchange(from.pack(), to.pack(), release, Ordering::Acquire)
            .is_ok()
    }

    /// An arena for `window`: one that somebody claimed for it already, or the free one with the
    /// most storage behind it. `None` when there is none.
    fn claim(&self, window: u64) -> Option<usize> {
        loop {
            // Each state is read once: an arena that was free and is claimed for this window now
            // must not be missed for being neither.
            let mut best = None;
            for (arena, state) in self.states() {
                if state == (ArenaState::Claimed { window }) {
                    return Some(arena);
                }
                let reserved = self.reserved(arena);
                if state == ArenaState::Free && best.is_none_or(|(_, most)| reserved > most) {
                    best = Some((arena, reserved));
                }
            }
            let (arena, _) = best?;
            if self.step(arena, ArenaState::Free, ArenaState::Claimed { window }) {
                return Some(arena);
            }
        }
    }

    /// The free arena that the next window will most likely have.
    #[must_use]
    pub fn next_free(&self) -> Option<usize> {
        let free =
            self.states().filter(|&(_, state)| state == ArenaState::Free).map(|(arena, _)| arena);
        free.max_by_key(|&arena| (self.reserved(arena), core::cmp::Reverse(arena)))
    }

    fn reserved(&self, arena: usize) -> u64 {
        // Relaxed: a preference, no more.
        self.arenas[arena].reserved.load(Ordering::Relaxed)
    }

    /// Takes back a claim that can no longer win: the word has reached its window and names
    /// another arena. Any process may do so with any claim.
    fn take_back(&self, arena: usize) {
        let state = self.state(arena);
        if let ArenaState::Claimed { window } = state {
            let word = self.current();
            if word.window() >= window && (word.window() != window || word.arena() != arena) {
                self.step(arena, state, ArenaState::Free);
            }
        }
    }

    /// Confirms the arena that `word` names. Must come before the word moves on: a claim that the
    /// word passed unconfirmed would be taken back, and its ids with it.
    fn confirm(&self, word: CurrentWord) {
        if strong(Site::ConfirmBeforeMove) {
            self.step(
                word.arena(),
                ArenaState::Claimed { window: word.window() },
                ArenaState::Confirmed { window: word.window(), size_step: word.size_step() },
            );
        }
    }

    /// Moves the word on; false if somebody else did.
    fn advance(&self, from: CurrentWord, to: CurrentWord) -> bool {
        debug_assert!(to.window() > from.window());
        // AcqRel: Release pairs with the Acquire in `current`: the claimed arena's storage and
        // zeroes are seen by whoever enters. Acquire pairs with the same, for the chain of moves.
        self.current.compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}
