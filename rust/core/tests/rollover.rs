//! The states of arenas, step by step: what a thread that was killed has left is completed or taken
//! back, and an arena in use is left alone. The models of loom race the same steps.
#![cfg(not(any(loom, shuttle)))]

use std::cell::Cell;

use verve_core::sync::{AtomicU64, Ordering};
use verve_core::table::ArenaHeader;
use verve_core::window::pins::Pins;
use verve_core::window::rollover::{Rollover, SealOutcome};
use verve_core::window::word::{ArenaState, CurrentWord};

const CONFIRMED: ArenaState = ArenaState::Confirmed { window: 1, size_step: 5 };
const SEALED: ArenaState = ArenaState::Sealed { window: 1, size_step: 5 };
const CLEARING: ArenaState = ArenaState::Clearing { window: 1, size_step: 5 };

/// Three arenas, of which the last is that of the current window 3.
struct Three {
    current: AtomicU64,
    arenas: [ArenaHeader; 3],
    own: Pins,
}

impl Three {
    fn with(first: ArenaState) -> Self {
        let it = Self {
            current: AtomicU64::new(CurrentWord::new(3, 7, 2).0),
            arenas: Default::default(),
            own: Pins::default(),
        };
        it.set(0, first);
        it.set(2, ArenaState::Claimed { window: 3 });
        it
    }

    fn set(&self, arena: usize, state: ArenaState) {
        self.arenas[arena].state.store(state.pack(), Ordering::Relaxed);
    }

    fn rollover(&self) -> Rollover<'_> {
        Rollover { current: &self.current, arenas: &self.arenas }
    }

    /// Clears the first arena, up to `clearable`: the size step of each time that it was zeroed.
    fn clear(&self, clearable: u64, others: impl FnMut() -> bool, zeroes: bool) -> Vec<u8> {
        let mut steps = Vec::new();
        self.rollover().clear(&self.own, 0, clearable, others, |size_step| {
            assert_eq!(self.state(), CLEARING, "nobody enters meanwhile");
            steps.push(size_step);
            zeroes
        });
        assert_eq!(self.own.count(0), 0);
        steps
    }

    fn state(&self) -> ArenaState {
        self.rollover().state(0)
    }

    /// Opens a window without a reservation that fails.
    fn open(&self, window: u64) -> bool {
        let opened: Result<bool, ()> = self.rollover().open(&self.own, window, |_, _| Ok(9));
        opened.expect("nothing to go wrong")
    }
}

#[test]
fn an_arena_is_cleared_from_each_state_behind_its_seal() {
    for state in [CONFIRMED, SEALED, CLEARING] {
        let arenas = Three::with(state);
        assert_eq!(arenas.clear(1, || false, true), [5], "{state:?}");
        assert_eq!(arenas.state(), ArenaState::Free);
    }
}

#[test]
fn an_arena_that_is_not_yet_zero_stays_shut() {
    for state in [SEALED, CLEARING] {
        let arenas = Three::with(state);
        assert_eq!(arenas.clear(1, || false, false), [5]);
        assert_eq!(arenas.state(), CLEARING);
        assert_eq!(arenas.clear(1, || false, true), [5]);
        assert_eq!(arenas.state(), ArenaState::Free);
    }
}

#[test]
fn an_arena_that_is_wanted_stays() {
    for state in [CONFIRMED, SEALED, CLEARING] {
        let arenas = Three::with(state);
        assert_eq!(arenas.clear(0, || false, true), [], "{state:?} is not to be cleared");
        assert_eq!(arenas.state(), state);
    }
    for state in [SEALED, CLEARING] {
        let arenas = Three::with(state);
        assert_eq!(arenas.clear(1, || true, true), [], "{state:?} is in use");
        assert_eq!(arenas.state(), state);
        let _held = arenas.own.pin(0);
        arenas.rollover().clear(&arenas.own, 0, 1, || false, |_| panic!("a thread is inside"));
        assert_eq!(arenas.state(), state);
    }
}

#[test]
fn an_arena_that_is_entered_while_it_is_shut_is_given_back() {
    let arenas = Three::with(SEALED);
    let looks = Cell::new(0);
    let comes = || {
        looks.set(looks.get() + 1);
        looks.get() == 2
    };
    assert_eq!(arenas.clear(1, comes, true), []);
    assert_eq!((looks.get(), arenas.state()), (2, SEALED));
}

#[test]
fn a_claim_that_lost_is_taken_back_and_no_other() {
    for (window, is_left) in [(1, false), (2, false), (3, false), (4, true)] {
        let claim = ArenaState::Claimed { window };
        let arenas = Three::with(claim);
        assert_eq!(arenas.clear(0, || false, true), []);
        assert_eq!(arenas.state(), if is_left { claim } else { ArenaState::Free }, "{window}");
    }
    let arenas = Three::with(ArenaState::Free);
    arenas.rollover().clear(&arenas.own, 2, 0, || false, |_| panic!("the current arena"));
    assert_eq!(arenas.rollover().state(2), ArenaState::Claimed { window: 3 });
}

#[test]
fn a_window_is_sealed_once() {
    let arenas = Three::with(CONFIRMED);
    let seal = |window, ends: Option<bool>| {
        arenas.rollover().seal(&arenas.own, window, |arena, size_step| {
            assert_eq!((arena, size_step), (0, 5));
            ends.expect("nothing to seal")
        })
    };
    assert_eq!(seal(2, None), SealOutcome::NoArena);
    assert_eq!(seal(3, None), SealOutcome::NoArena, "the current window");
    assert_eq!(seal(1, Some(false)), SealOutcome::Unfinished);
    assert_eq!(arenas.state(), CONFIRMED);
    assert_eq!(seal(1, Some(true)), SealOutcome::Sealed);
    assert_eq!(arenas.state(), SEALED);
    assert_eq!(seal(1, None), SealOutcome::Sealed);
    arenas.set(0, CLEARING);
    assert_eq!(seal(1, None), SealOutcome::Sealed);
    assert_eq!(arenas.own.count(0), 0);
}

#[test]
fn a_window_opens_in_the_free_arena_with_the_most_storage() {
    let arenas = Three::with(ArenaState::Free);
    assert_eq!(arenas.rollover().next_free(), Some(0), "the first of equals");
    arenas.arenas[1].reserved.store(4_096, Ordering::Relaxed);
    assert_eq!(arenas.rollover().next_free(), Some(1));
    assert!(arenas.open(2) && arenas.open(3), "they are past");
    assert_eq!(arenas.rollover().current(), CurrentWord::new(3, 7, 2));

    assert!(arenas.open(5));
    assert_eq!(arenas.rollover().current(), CurrentWord::new(5, 9, 1));
    let confirmed = ArenaState::Confirmed { window: 3, size_step: 7 };
    assert_eq!(arenas.rollover().state(2), confirmed);
    assert!(arenas.open(6));
    assert_eq!(arenas.rollover().current().arena(), 0);
    assert_eq!(arenas.rollover().next_free(), None);
    assert!(!arenas.open(7), "no arena is free");
    assert_eq!(arenas.rollover().current().window(), 6);
}

#[test]
fn a_claim_is_adopted() {
    let arenas = Three::with(ArenaState::Free);
    let failed = arenas.rollover().open(&arenas.own, 4, |arena, word| {
        assert_eq!((arena, word.window()), (0, 3));
        Err("no storage")
    });
    assert_eq!(failed, Err("no storage"));
    assert_eq!((arenas.state(), arenas.own.count(0)), (ArenaState::Claimed { window: 4 }, 0));
    arenas.arenas[1].reserved.store(4_096, Ordering::Relaxed);
    assert!(arenas.open(4));
    assert_eq!(arenas.rollover().current(), CurrentWord::new(4, 9, 0));
    assert_eq!(arenas.rollover().state(1), ArenaState::Free);
}
