//! Entering against reuse: while an arena is zeroed no thread is inside, and an id that was
//! counted after it was taken into use again is not zeroed.
#![cfg(loom)]

mod loom_support;

use loom::sync::Arc;

use loom_support::{Segment, Threads, fails_without, holds, race, with, words};
use verve_core::sync::Site;
use verve_core::table::Insert;
use verve_core::table::freezing::Freezing;
use verve_core::window::rollover::SealOutcome;
use verve_core::window::word::ArenaState;

const SEALED: ArenaState = ArenaState::Sealed { window: 1, size_step: 0 };
const CLEARING: ArenaState = ArenaState::Clearing { window: 1, size_step: 0 };

/// Freezes the table of `window`: the number of its ids.
fn seal(segment: &Segment, writer: usize, window: u64) -> u64 {
    let mut count = None;
    let sealing = segment.rollover().seal(&segment.writers[writer], window, |arena, _| {
        count = Some(segment.table(arena).freeze());
        true
    });
    assert_eq!(sealing, SealOutcome::Sealed);
    count.expect("nobody else seals it")
}

/// A writer enters with the word of window 1 in hand, while the window is turned, sealed, its arena
/// zeroed and taken into use for window 3.
fn a_writer_and_the_reuse_of_its_arena(first: usize) {
    let segment = Arc::new(Segment::new(2));
    assert_eq!(segment.add(0, 5), (Insert::New, 1));
    let threads: Threads<(u64, u64)> = vec![
        with(&segment, |it| {
            let (insert, window) = it.add(1, 7);
            assert_eq!(insert, Insert::New);
            (window, 0)
        }),
        with(&segment, |it| {
            assert!(it.open(2, 2));
            let count = seal(it, 2, 1);
            it.clear(2, 0, 1);
            let reused = it.open(2, 3);
            if reused {
                assert_eq!(it.add(2, 5), (Insert::New, 3), "an old id is gone");
            }
            (count, u64::from(reused))
        }),
    ];
    let [(window, _), (count, reused)] = race(first, threads)[..] else { unreachable!() };

    let mut expected = [1, 0, reused];
    expected[window as usize - 1] += 1;
    let second = words(&segment.table(1)).len() as u64;
    let third = if reused == 1 { words(&segment.table(0)).len() as u64 } else { 0 };
    assert_eq!([count, second, third], expected);
}

/// Seals window 1, passing over so many buckets.
fn seal_some(it: &Segment, writer: usize, freezing: &mut Freezing, mut most: usize) -> SealOutcome {
    it.rollover().seal(&it.writers[writer], 1, |arena, _| {
        let count = it.table(arena).freeze_some(freezing, &mut most);
        assert!(count.is_none_or(|count| count == 1));
        count.is_some()
    })
}

/// One seals window 1 in two pieces, outside of its arena in between, while another one seals it, zeroes
/// its arena and takes that into use for window 3.
fn a_sealer_in_pieces_and_the_reuse_of_the_arena(first: usize) {
    let segment = Arc::new(Segment::new(2));
    assert_eq!(segment.add(0, 5), (Insert::New, 1));
    assert!(segment.open(0, 2));
    let threads: Threads<bool> = vec![
        with(&segment, |it| {
            let mut freezing = Freezing::default();
            seal_some(it, 1, &mut freezing, 0);
            seal_some(it, 1, &mut freezing, 9) == SealOutcome::Unfinished
        }),
        with(&segment, |it| {
            while seal_some(it, 2, &mut Freezing::default(), 9) == SealOutcome::StateChanged {}
            it.clear(2, 0, 1);
            let reused = it.open(2, 3);
            if reused {
                assert_eq!(it.add(2, 5), (Insert::New, 3));
            }
            reused
        }),
    ];
    let [unfinished, reused] = race(first, threads)[..] else { unreachable!() };
    assert!(!unfinished);
    if reused {
        assert_eq!(words(&segment.table(0)), [5]);
        assert_eq!(segment.add(0, 6), (Insert::New, 3));
    }
}

/// Window 1 is sealed and published, in arena 0; window 2 is current, in arena 1.
fn published(state: ArenaState) -> Arc<Segment> {
    let segment = Arc::new(Segment::new(2));
    assert_eq!(segment.add(0, 5).0, Insert::New);
    assert_eq!(segment.add(0, 6).0, Insert::New);
    assert!(segment.open(0, 2));
    assert_eq!(seal(&segment, 0, 1), 2);
    segment.set(0, state);
    segment
}

/// Lists the ids of window 1, if they are there.
fn read(segment: &Segment) -> bool {
    let pinned = segment.rollover().enter_in(&segment.writers[1], 0, SEALED);
    if pinned.is_some() {
        assert_eq!(words(&segment.table(0)), [5, 6]);
    }
    pinned.is_some()
}

/// A reader lists the ids of the sealed window while its arena is cleared: all of them or none.
fn a_reader_and_the_clearing(first: usize) {
    let segment = published(SEALED);
    let threads: Threads<()> = vec![
        with(&segment, |it| {
            read(it);
        }),
        with(&segment, |it| it.clear(2, 0, 1)),
    ];
    race(first, threads);
    segment.clear(2, 0, 1);
    assert_eq!(segment.states()[0], ArenaState::Free);
}

/// A thread that holds a window can always list its ids, while another one tries to clear it.
fn a_holder_and_the_clearing(first: usize) {
    let segment = published(SEALED);
    segment.rollover().enter_in(&segment.writers[1], 0, SEALED).expect("sealed").hold();
    let threads: Threads<()> = vec![
        with(&segment, |it| assert!(read(it), "held, so there")),
        with(&segment, |it| it.clear(2, 0, 1)),
    ];
    race(first, threads);
    assert_eq!(segment.states()[0], SEALED);
}

/// Takes the arena into use for window 3, if it is free: nothing may be there but what is counted.
fn count_again(segment: &Segment) -> bool {
    let reused = segment.open(2, 3);
    if reused {
        assert_eq!(segment.add(2, 7), (Insert::New, 3));
        assert_eq!(segment.add(2, 5), (Insert::New, 3), "an old id is gone");
    }
    reused
}

/// Two clear the same arena, and one goes on to count in it: nothing of that may be zeroed.
fn two_clear(first: usize, state: ArenaState) {
    let segment = published(state);
    let threads: Threads<bool> = vec![
        with(&segment, |it| {
            it.clear(1, 0, 1);
            false
        }),
        with(&segment, |it| {
            it.clear(2, 0, 1);
            count_again(it)
        }),
    ];
    if race(first, threads)[1] {
        assert_eq!(words(&segment.table(0)), [5, 7]);
    } else {
        segment.clear(2, 0, 1);
        assert_eq!(segment.states()[0], ArenaState::Free);
    }
}

fn two_clear_a_sealed_arena(first: usize) {
    two_clear(first, SEALED);
}

/// Somebody was killed while he zeroed.
fn two_clear_a_half_cleared_arena(first: usize) {
    two_clear(first, CLEARING);
}

/// One clears, another one takes the arena into use, who has seen no more of it than that it is free.
fn one_clears_and_another_one_counts(first: usize) {
    let segment = published(SEALED);
    let threads: Threads<bool> = vec![
        with(&segment, |it| {
            it.clear(1, 0, 1);
            false
        }),
        with(&segment, count_again),
    ];
    if race(first, threads)[1] {
        assert_eq!(words(&segment.table(0)), [5, 7]);
    }
}

#[test]
fn a_sealer_in_pieces_touches_no_arena_that_is_in_use_again() {
    holds(2, Some(2), a_sealer_in_pieces_and_the_reuse_of_the_arena);
}

#[test]
fn a_writer_is_never_in_an_arena_that_is_reused() {
    holds(2, None, a_writer_and_the_reuse_of_its_arena);
}

#[test]
fn a_reader_gets_all_ids_or_none() {
    holds(2, None, a_reader_and_the_clearing);
    holds(2, None, a_holder_and_the_clearing);
}

#[test]
fn an_arena_is_cleared_once() {
    holds(2, Some(3), two_clear_a_sealed_arena);
    holds(2, None, two_clear_a_half_cleared_arena);
    holds(2, None, one_clears_and_another_one_counts);
}

#[test]
fn entering_must_fence_and_look_again() {
    fails_without(Site::EnterFence, 2, None, a_writer_and_the_reuse_of_its_arena);
    fails_without(Site::EnterRecheck, 2, None, a_writer_and_the_reuse_of_its_arena);
    fails_without(Site::EnterFence, 2, None, a_reader_and_the_clearing);
    fails_without(Site::EnterRecheck, 2, None, a_reader_and_the_clearing);
}

#[test]
fn clearing_must_shut_the_arena_and_fence() {
    fails_without(Site::ReuseFence, 2, None, a_reader_and_the_clearing);
    fails_without(Site::ClearBeforeZero, 2, None, a_reader_and_the_clearing);
}

#[test]
fn a_half_cleared_arena_must_be_looked_at_again() {
    fails_without(Site::ReuseRecheck, 2, None, two_clear_a_half_cleared_arena);
}

#[test]
fn a_freed_arena_must_be_released() {
    fails_without(Site::FreeArena, 2, None, one_clears_and_another_one_counts);
}
