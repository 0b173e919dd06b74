//! Opening a window: writers that move the current word at once, claims that are adopted, lose or
//! were left behind, and the confirmation of the old arena before the word moves on.
#![cfg(loom)]

mod loom_support;

use loom::sync::Arc;

use loom_support::{Segment, Threads, fails_without, holds, race, with};
use verve_core::sync::Site;
use verve_core::window::word::ArenaState;

const FIRST: ArenaState = ArenaState::Confirmed { window: 1, size_step: 0 };

/// Takes back what is left of claims that lost, and says what is left.
fn settled(segment: &Segment) -> Vec<ArenaState> {
    for arena in 0..segment.arenas.len() {
        segment.clear(0, arena, 0);
    }
    segment.states()
}

/// How often `state` is among `states`.
fn times(states: &[ArenaState], state: ArenaState) -> usize {
    states.iter().filter(|&&its| its == state).count()
}

/// Both open window 2: one arena is that of window 2, and whatever else was claimed is free.
fn two_open_the_same_window(first: usize) {
    let segment = Arc::new(Segment::new(3));
    let threads: Threads<bool> =
        vec![with(&segment, |it| it.open(1, 2)), with(&segment, |it| it.open(2, 2))];
    assert_eq!(race(first, threads), [true, true]);
    assert_eq!(segment.rollover().current().window(), 2);

    let states = settled(&segment);
    let arena = segment.rollover().current().arena();
    assert_eq!(states[0], FIRST);
    assert_eq!(states[arena], ArenaState::Claimed { window: 2 });
    assert_eq!(times(&states, ArenaState::Free), 1);
}

/// One opens window 2 and on to window 3, the other takes back what may be taken back: the
/// window that was left keeps its arena, and the new one has one of its own.
fn the_word_moves_on_while_claims_are_taken_back(first: usize) {
    let segment = Arc::new(Segment::new(3));
    let threads = vec![
        with(&segment, |it| {
            (0..3).for_each(|arena| it.clear(1, arena, 0));
            [0, 0]
        }),
        with(&segment, |it| {
            [2, 3].map(|window| {
                assert!(it.open(2, window));
                it.rollover().current().arena()
            })
        }),
    ];
    let [second, third] = race(first, threads)[1];

    let states = settled(&segment);
    assert_eq!(states[0], FIRST);
    assert_eq!(states[second], ArenaState::Confirmed { window: 2, size_step: 0 });
    assert_eq!(states[third], ArenaState::Claimed { window: 3 });
}

/// One opens window 2, the other to window 3: whether or not there was a window 2, each window
/// that was has an arena of its own, and nothing else is taken.
fn two_open_different_windows(first: usize) {
    let segment = Arc::new(Segment::new(3));
    let threads = vec![
        with(&segment, |it| {
            it.open(1, 2);
            it.rollover().current()
        }),
        with(&segment, |it| {
            assert!(it.open(2, 3));
            it.rollover().current()
        }),
    ];
    let seen = race(first, threads);

    let states = settled(&segment);
    assert_eq!(seen[1].window(), 3);
    assert_eq!(states[0], FIRST);
    assert_eq!(states[seen[1].arena()], ArenaState::Claimed { window: 3 });
    let second = times(&states, ArenaState::Confirmed { window: 2, size_step: 0 });
    assert_eq!(second + times(&states, ArenaState::Free), 1);
    if seen[0].window() == 2 {
        assert_eq!(states[seen[0].arena()], ArenaState::Confirmed { window: 2, size_step: 0 });
    }
}

/// Somebody was killed with a claim in hand: both adopt it, and the third arena stays free.
fn two_adopt_a_claim(first: usize) {
    let segment = Arc::new(Segment::new(3));
    segment.set(2, ArenaState::Claimed { window: 2 });
    let threads: Threads<bool> =
        vec![with(&segment, |it| it.open(1, 2)), with(&segment, |it| it.open(2, 2))];
    assert_eq!(race(first, threads), [true, true]);
    assert_eq!(segment.rollover().current().arena(), 2);
    assert_eq!(segment.states(), [FIRST, ArenaState::Free, ArenaState::Claimed { window: 2 }]);
}

/// Somebody was killed with a claim for a window that was skipped, while it is taken back and the
/// word moves on.
fn a_claim_for_a_skipped_window_is_taken_back(first: usize) {
    let segment = Arc::new(Segment::new(3));
    segment.set(2, ArenaState::Claimed { window: 2 });
    let threads: Threads<()> =
        vec![with(&segment, |it| it.clear(1, 2, 0)), with(&segment, |it| assert!(it.open(2, 3)))];
    race(first, threads);
    let states = settled(&segment);
    assert_eq!(states, [FIRST, ArenaState::Claimed { window: 3 }, ArenaState::Free]);
}

/// Both open window 2 with one free arena: both find it.
fn the_last_arena(first: usize) {
    let segment = Arc::new(Segment::new(2));
    let threads: Threads<bool> =
        vec![with(&segment, |it| it.open(1, 2)), with(&segment, |it| it.open(2, 2))];
    assert_eq!(race(first, threads), [true, true]);
    assert_eq!(settled(&segment), [FIRST, ArenaState::Claimed { window: 2 }]);
    assert!(!segment.open(2, 3), "no arena is left");
    assert_eq!(segment.rollover().current().window(), 2);
}

#[test]
fn writers_move_the_word_together() {
    holds(2, None, two_open_the_same_window);
    holds(2, None, two_open_different_windows);
    holds(2, None, the_last_arena);
}

#[test]
fn claims_are_adopted_and_taken_back() {
    holds(2, None, two_adopt_a_claim);
    holds(2, None, a_claim_for_a_skipped_window_is_taken_back);
    holds(2, Some(2), the_word_moves_on_while_claims_are_taken_back);
}

#[test]
fn an_arena_must_be_confirmed_before_the_word_moves_on() {
    fails_without(
        Site::ConfirmBeforeMove,
        2,
        Some(3),
        the_word_moves_on_while_claims_are_taken_back,
    );
}
