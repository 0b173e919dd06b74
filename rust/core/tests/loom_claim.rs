//! Claiming a slot: two threads with the same id, with different ones, and with full probes.
#![cfg(loom)]

mod loom_support;

use loom::sync::Arc;

use loom_support::{Arena, Threads, fails_without, holds, race, words};
use verve_core::sync::Site;
use verve_core::table::{CLOSED, EMPTY, Insert};

/// Each thread inserts its ids in turn into a table that has `present` already.
fn insert(first: usize, buckets: &[usize], present: &[u64], by_thread: [&'static [u64]; 2]) {
    let arena = Arc::new(Arena::new(buckets));
    for &word in present {
        assert_eq!(arena.table().insert(word), Ok(Insert::New));
    }
    let threads: Threads<Vec<(u64, Insert)>> = by_thread
        .into_iter()
        .map(|mine| {
            let arena = Arc::clone(&arena);
            let insert = move |&word| (word, arena.table().insert(word).expect("room"));
            Box::new(move || mine.iter().map(insert).collect()) as Box<_>
        })
        .collect();
    let outcomes = race(first, threads).concat();

    let mut expected = [present, by_thread[0], by_thread[1]].concat();
    expected.sort_unstable();
    expected.dedup();
    assert_eq!(words(&arena.table()), expected, "each id once");
    for &word in expected.iter().filter(|word| !present.contains(word)) {
        let times = |wanted| outcomes.iter().filter(|&&outcome| outcome == (word, wanted)).count();
        assert_eq!(times(Insert::New), 1, "{word} is new for one thread");
        assert_eq!(times(Insert::Frozen), 0);
    }
}

fn the_same_id(first: usize) {
    insert(first, &[1], &[], [&[7], &[7]]);
}

fn different_ids(first: usize) {
    insert(first, &[1], &[], [&[7], &[8]]);
}

fn crossing_ids(first: usize) {
    insert(first, &[2], &[], [&[7, 8], &[8, 7]]);
}

fn the_next_extent_with_the_same_id(first: usize) {
    insert(first, &[1, 1], &[1, 2], [&[7], &[7]]);
}

fn the_next_extent_with_different_ids(first: usize) {
    insert(first, &[1, 2], &[1, 2], [&[7, 8], &[8]]);
}

fn the_extent_after_the_next(first: usize) {
    insert(first, &[1, 1, 1], &[1, 2], [&[7, 8], &[9, 7]]);
}

fn the_ids_that_cannot_stand_in_a_slot(first: usize) {
    insert(first, &[1], &[], [&[EMPTY, CLOSED], &[CLOSED, EMPTY]]);
}

#[test]
fn an_id_is_new_once() {
    holds(2, None, the_same_id);
    holds(2, None, different_ids);
    holds(2, None, crossing_ids);
    holds(2, None, the_ids_that_cannot_stand_in_a_slot);
}

#[test]
fn an_id_is_new_once_beyond_a_full_probe() {
    holds(2, None, the_next_extent_with_the_same_id);
    holds(2, Some(3), the_next_extent_with_different_ids);
    holds(2, Some(3), the_extent_after_the_next);
}

#[test]
fn a_slot_must_be_claimed_by_a_compare_and_swap() {
    fails_without(Site::ClaimSlot, 2, None, the_same_id);
    fails_without(Site::ClaimSlot, 2, None, different_ids);
}

#[test]
fn an_extent_must_be_opened_behind_its_storage() {
    fails_without(Site::OpenExtent, 2, None, the_next_extent_with_the_same_id);
}
