//! Freezing against writing: every sealer gets the same count, and it is that of the ids which were
//! acknowledged.
#![cfg(loom)]

mod loom_support;

use loom::sync::Arc;

use loom_support::{Arena, Threads, fails_without, holds, race, words};
use verve_core::sync::Site;
use verve_core::table::{EMPTY, Insert};

/// A writer who inserts `late` and then a duplicate of it, and sealers, in a table that has
/// `present` already.
fn freeze(first: usize, buckets: &[usize], present: &[u64], late: u64, sealers: usize) {
    let arena = Arc::new(Arena::new(buckets));
    for &word in present {
        assert_eq!(arena.table().insert(word), Ok(Insert::New));
    }
    let writing = Arc::clone(&arena);
    let mut threads: Threads<u64> = vec![Box::new(move || {
        let first = writing.table().insert(late).expect("room");
        let duplicate = writing.table().insert(late).expect("room");
        match first {
            Insert::New => assert_eq!(duplicate, Insert::Present),
            Insert::Frozen => assert_eq!(duplicate, Insert::Frozen),
            Insert::Present => panic!("nobody else inserted it"),
        }
        u64::from(first == Insert::New)
    })];
    for _ in 0..sealers {
        let arena = Arc::clone(&arena);
        threads.push(Box::new(move || arena.table().freeze()));
    }
    let counts = race(first, threads);
    let acknowledged = present.len() as u64 + counts[0];
    let counts = &counts[1..];
    assert!(counts.iter().all(|&count| count == acknowledged), "{counts:?}, not {acknowledged}");
    assert_eq!(words(&arena.table()).len() as u64, acknowledged);
    assert_eq!(arena.table().insert(99), Ok(Insert::Frozen));
    assert_eq!(arena.table().freeze(), acknowledged);
}

fn in_a_bucket(first: usize) {
    freeze(first, &[1], &[], 7, 2);
}

fn in_the_last_slot_of_a_bucket(first: usize) {
    freeze(first, &[1], &[1], 7, 2);
}

fn in_the_second_bucket_of_a_probe(first: usize) {
    // Of two buckets, the probe for a small word begins in the first.
    freeze(first, &[2], &[1, 2], 7, 2);
}

fn beyond_a_full_extent(first: usize) {
    freeze(first, &[1, 1], &[1, 2], 7, 2);
}

fn in_an_extent_that_is_open(first: usize) {
    freeze(first, &[1, 1], &[1, 2, 3], 7, 2);
}

fn an_id_that_cannot_stand_in_a_slot(first: usize) {
    freeze(first, &[1], &[], EMPTY, 2);
}

fn one_sealer(first: usize) {
    freeze(first, &[2], &[1, 2], 7, 1);
}

fn one_sealer_beyond_a_full_extent(first: usize) {
    freeze(first, &[1, 1], &[1, 2], 7, 1);
}

#[test]
fn a_sealer_counts_what_was_acknowledged() {
    holds(2, None, one_sealer);
    holds(2, None, one_sealer_beyond_a_full_extent);
}

#[test]
fn sealers_agree_on_what_was_acknowledged() {
    holds(3, Some(3), in_a_bucket);
    holds(3, Some(3), in_the_last_slot_of_a_bucket);
    holds(3, Some(2), in_the_second_bucket_of_a_probe);
    holds(3, Some(2), an_id_that_cannot_stand_in_a_slot);
}

#[test]
fn sealers_agree_while_extents_are_opened() {
    holds(3, Some(2), beyond_a_full_extent);
    holds(3, Some(2), in_an_extent_that_is_open);
}

#[test]
fn a_bucket_must_be_closed_by_a_compare_and_swap() {
    fails_without(Site::CloseBucket, 3, Some(2), in_a_bucket);
}

#[test]
fn a_slot_must_be_claimed_against_the_freeze() {
    fails_without(Site::ClaimSlot, 3, Some(2), in_a_bucket);
}

#[test]
fn extents_must_be_closed_before_their_buckets() {
    fails_without(Site::FreezeExtents, 2, None, one_sealer_beyond_a_full_extent);
}

#[test]
fn who_meets_a_closed_bucket_must_see_why() {
    fails_without(Site::MeetClosed, 2, None, one_sealer);
}
