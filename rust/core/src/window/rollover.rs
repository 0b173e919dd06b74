//! The rollover of the window: one central word, and the way of an arena from claim to reuse.
//!
//! The first thread that has an id for a later window claims a free arena, confirms the old one, and
//! moves the current word on by one compare-and-swap. Nothing is copied and no thread waits.
//!
//! Any number of threads and processes may make each step at once, and each of them may be killed or
//! stopped anywhere. The next one completes a step that is half done, or takes it back.

use crate::sync::{AtomicU64, Ordering, Site, check, choose, ordering, perform};
use crate::table::ArenaHeader;
use crate::window::pins::{Pinned, Pins};
use crate::window::word::{ArenaState, CurrentWord};

/// The current word and the states of the arenas.
#[derive(Clone, Copy, Debug)]
pub struct Rollover<'a> {
    /// The current word.
    pub current: &'a AtomicU64,
    /// The arenas; at most [`crate::window::word::ARENAS`].
    pub arenas: &'a [ArenaHeader],
}

/// A thread is inside of the arena of a window until this is dropped.
#[derive(Debug)]
pub struct Entered<'p> {
    /// Names the window, its arena and the size of its first extent.
    pub word: CurrentWord,
    /// Keeps the arena from being cleared.
    pub pinned: Pinned<'p>,
}

/// Outcome of an attempt to seal a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealOutcome {
    /// The window is sealed, by the caller or by another thread.
    Sealed,
    /// The arena changed its state meanwhile: the caller has to look again.
    StateChanged,
    /// `seal` has not finished.
    Unfinished,
    /// The window has no arena: it never had one, or its arena was cleared.
    NoArena,
}

impl Rollover<'_> {
    /// The current word.
    #[inline]
    #[must_use]
    pub fn current(&self) -> CurrentWord {
        // Acquire: pairs with the AcqRel in `advance`, behind which the arena is ready.
        CurrentWord(self.current.load(Ordering::Acquire))
    }

    /// The state of an arena.
    #[must_use]
    pub fn state(&self, arena: usize) -> ArenaState {
        // Acquire: pairs with the AcqRel of the step that led to the state.
        ArenaState::unpack(self.arenas[arena].state.load(Ordering::Acquire))
    }

    /// All arenas with their states, each read once.
    pub fn states(&self) -> impl Iterator<Item = (usize, ArenaState)> {
        (0..self.arenas.len()).map(|arena| (arena, self.state(arena)))
    }

    /// Enters the arena of `word` if that is still the current word. Otherwise returns the word that
    /// is.
    #[inline]
    pub fn enter<'p>(&self, pins: &'p Pins, word: CurrentWord) -> Result<Entered<'p>, CurrentWord> {
        let mut now = word;
        let pinned = pins.pin_if(word.arena(), || {
            now = self.current();
            now == word
        });
        pinned.map(|pinned| Entered { word, pinned }).ok_or(now)
    }

    /// Enters `arena` if it is still in `state`.
    #[must_use]
    pub fn enter_in<'p>(
        &self,
        pins: &'p Pins,
        arena: usize,
        state: ArenaState,
    ) -> Option<Pinned<'p>> {
        pins.pin_if(arena, || self.state(arena) == state)
    }

    /// Moves the current word to `window`, unless it is there or beyond. Returns false if no arena is
    /// free.
    ///
    /// `reserve` puts storage behind the first extent of a new table in the arena that it is given, for
    /// the window after the word that it is given. It returns the size step of the extent.
    ///
    /// # Errors
    /// Those of `reserve`.
    pub fn open<E>(
        &self,
        pins: &Pins,
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
            // Pinned, so that no process clears the arena while storage is put behind it.
            let Some(pinned) = self.enter_in(pins, arena, ArenaState::Claimed { window }) else {
                continue;
            };
            let moved = reserve(arena, word)
                .map(|size_step| self.advance(word, CurrentWord::new(window, size_step, arena)));
            drop(pinned);
            if moved? {
                return Ok(true);
            }
            self.take_back(arena);
        }
    }

    /// Runs `seal` in the arena of `window`, which the current word has passed, unless the window is
    /// sealed. `seal` freezes the table, writes the record, and returns whether it has finished. Until
    /// then the arena is not cleared, so that `seal` may go on at the next call.
    pub fn seal(
        &self,
        pins: &Pins,
        window: u64,
        seal: impl FnOnce(usize, u8) -> bool,
    ) -> SealOutcome {
        let is_its = |&(_, state): &(usize, ArenaState)| {
            matches!(
                state,
                ArenaState::Confirmed { window: its, .. }
                | ArenaState::Sealed { window: its, .. }
                | ArenaState::Clearing { window: its, .. }
                if its == window
            )
        };
        let Some((arena, state)) = self.states().find(is_its) else { return SealOutcome::NoArena };
        let ArenaState::Confirmed { size_step, .. } = state else { return SealOutcome::Sealed };
        let Some(_pinned) = self.enter_in(pins, arena, state) else {
            return SealOutcome::StateChanged;
        };
        if !seal(arena, size_step) {
            return SealOutcome::Unfinished;
        }
        self.step(arena, state, ArenaState::Sealed { window, size_step });
        SealOutcome::Sealed
    }

    /// Frees `arena` if its window is `clearable` or an earlier one, all of which are sealed, and no
    /// other thread is inside: `zero` makes the table as new and returns whether it has finished.
    /// `others` is as in [`Pins::is_alone`].
    ///
    /// Two faults would be fatal: that a thread enters while the arena is zeroed, and that two threads
    /// zero it, the second when it is in use again. The step to `Clearing` before the pins are read
    /// keeps out the first. The pin of the thread that zeroes keeps out the second: all others see it,
    /// if they read it before they read the state.
    pub fn clear(
        &self,
        pins: &Pins,
        arena: usize,
        clearable: u64,
        mut others: impl FnMut() -> bool,
        zero: impl FnOnce(u8) -> bool,
    ) {
        let Some(state) = self.retire(arena, clearable) else { return };
        let _pinned = pins.pin(arena);
        let shut = self.shut(arena, state, || pins.is_alone(arena, &mut others));
        if let Some(shut) = shut {
            self.free(arena, shut, zero);
        }
    }

    /// First step of clearing: the state of `arena` if it is one from which an arena is cleared, and
    /// its window is `clearable` or an earlier one. A claim that lost is taken back on the way.
    fn retire(&self, arena: usize, clearable: u64) -> Option<ArenaState> {
        self.take_back(arena);
        let mut state = self.state(arena);
        if let ArenaState::Confirmed { window, size_step } = state
            && window <= clearable
        {
            // A claim that lost, and that a thread with an old word in hand confirmed. The arena that
            // the word named was cleared before, so its window is `clearable`.
            self.step(arena, state, ArenaState::Sealed { window, size_step });
            state = self.state(arena);
        }
        let (ArenaState::Sealed { window, .. } | ArenaState::Clearing { window, .. }) = state
        else {
            return None;
        };
        (window <= clearable).then_some(state)
    }

    /// Second step of clearing, by a thread that has pinned `arena`: takes the arena, which was in
    /// `state`, out of the reach of all others. Returns its state if no other thread is inside.
    fn shut(
        &self,
        arena: usize,
        state: ArenaState,
        mut is_alone: impl FnMut() -> bool,
    ) -> Option<ArenaState> {
        // Also before the step: a reader that holds the window may go in and out meanwhile.
        if !is_alone() {
            return None;
        }
        let ArenaState::Sealed { window, size_step } = state else {
            // The thread that stepped there is gone: dead, or done. The state says which.
            let is_left = check(Site::ReuseRecheck, || self.state(arena) == state);
            return is_left.then_some(state);
        };
        let clearing = ArenaState::Clearing { window, size_step };
        let shut = choose(Site::ClearBeforeZero, clearing, state);
        if !self.step(arena, state, shut) {
            return None;
        }
        if !is_alone() {
            self.step(arena, shut, state);
            return None;
        }
        Some(shut)
    }

    /// Third step of clearing, by a thread that is alone in `arena`, which is in state `shut`.
    fn free(&self, arena: usize, shut: ArenaState, zero: impl FnOnce(u8) -> bool) {
        if let ArenaState::Sealed { size_step, .. } | ArenaState::Clearing { size_step, .. } = shut
            && zero(size_step)
        {
            self.step(arena, shut, ArenaState::Free);
        }
    }

    /// Takes an arena from one state to the next. Returns false if it was not in `from`.
    fn step(&self, arena: usize, from: ArenaState, to: ArenaState) -> bool {
        // AcqRel: Release pairs with the Acquire in `state` and here. A thread that acts on the state
        // sees what was done to the arena before the step.
        let release = match to {
            ArenaState::Free => ordering(Site::FreeArena, Ordering::AcqRel),
            _ => Ordering::AcqRel,
        };
        self.arenas[arena]
            .state
            .compare_exchange(from.pack(), to.pack(), release, Ordering::Acquire)
            .is_ok()
    }

    /// An arena for `window`: one that another thread has claimed for it, or the free one with the most
    /// storage behind it. `None` if there is none.
    fn claim(&self, window: u64) -> Option<usize> {
        loop {
            // Each state is read once: an arena that was free and is now claimed for this window must
            // not be missed.
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

    /// The free arena that the next window will most likely use.
    #[must_use]
    pub fn next_free(&self) -> Option<usize> {
        let free =
            self.states().filter(|&(_, state)| state == ArenaState::Free).map(|(arena, _)| arena);
        free.max_by_key(|&arena| (self.reserved(arena), core::cmp::Reverse(arena)))
    }

    fn reserved(&self, arena: usize) -> u64 {
        // Relaxed: only a preference.
        self.arenas[arena].reserved.load(Ordering::Relaxed)
    }

    /// Takes back a claim that can no longer win: the word has reached its window and names another
    /// arena. Any process may take back any claim.
    fn take_back(&self, arena: usize) {
        let state = self.state(arena);
        if let ArenaState::Claimed { window } = state {
            let word = self.current();
            if word.window() >= window && (word.window() != window || word.arena() != arena) {
                self.step(arena, state, ArenaState::Free);
            }
        }
    }

    /// Confirms the arena that `word` names. Must come before the word moves on: a claim that the word
    /// has passed unconfirmed would be taken back, and its ids with it.
    fn confirm(&self, word: CurrentWord) {
        let (window, size_step) = (word.window(), word.size_step());
        perform(Site::ConfirmBeforeMove, || {
            let confirmed = ArenaState::Confirmed { window, size_step };
            self.step(word.arena(), ArenaState::Claimed { window }, confirmed);
        });
    }

    /// Moves the word on. Returns false if another thread did.
    fn advance(&self, from: CurrentWord, to: CurrentWord) -> bool {
        debug_assert!(to.window() > from.window());
        // AcqRel: Release pairs with the Acquire in `current`: a thread that enters sees the storage and
        // the zeroes of the claimed arena. Acquire pairs with the same, for the chain of moves.
        self.current.compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}
