//! Maintenance in pieces: while nobody leads, no single call of a writer seals or zeroes a large table.

mod support;

use std::sync::Arc;

use support::{EPOCH, Path, SECOND, in_memory};
use verve_core::{Clock, Counter, ManualClock, SegmentConfig};

/// Ids of a table that takes several pieces.
const MANY: i64 = 300_000;
/// Calls within which it has to be sealed and zeroed.
const ENOUGH: usize = 100;

fn ids(first: i64) -> Vec<i64> {
    (first..first + MANY).collect()
}

/// Adds an id again and again until `is_done`: how many calls that took.
fn calls_until(counter: &Counter, is_done: impl Fn() -> bool) -> usize {
    let mut calls = 0;
    while !is_done() {
        calls += 1;
        assert!(calls < ENOUGH, "maintenance that was begun does not go on");
        counter.add(1).expect("room");
    }
    calls
}

#[test]
fn writers_seal_and_free_a_large_table_in_pieces() {
    let (counter, clock) = in_memory(60, 1_000_000);
    let mut start = EPOCH;
    for minute in 0..3 {
        counter.add_many(&ids(minute)).expect("a participant");
        clock.advance(60 * SECOND);
        let calls = calls_until(&counter, || counter.ring().newest() >= start);
        assert!(calls > 1, "sealed in {calls} calls");
        let free = |counter: &Counter| counter.stats().expect("figures").arenas == [15, 1, 0];
        let calls = calls_until(&counter, || free(&counter));
        assert!(calls > 0, "zeroed in the call that sealed");
        start += 60;
    }
    let records = counter.closed(9).expect("records");
    let unique: Vec<_> = records.iter().map(|record| record.unique).collect();
    assert_eq!(unique, [MANY as u64, MANY as u64, MANY as u64 + 1]);
}

#[test]
fn a_leader_does_so_in_larger_ones_and_writers_leave_it_to_him() {
    let (counter, clock) = in_memory(60, 1_000_000);
    assert!(counter.lease().acquire().expect("a participant").is_some());
    counter.add_many(&ids(0)).expect("a participant");
    clock.advance(60 * SECOND);
    for _ in 0..20 {
        counter.add(1).expect("room");
    }
    assert!(counter.ring().newest() < EPOCH);
    counter.maintenance().run().expect("maintenance");
    assert_eq!(counter.ring().newest(), EPOCH);
    assert_eq!(counter.closed(1).expect("a record")[0].unique, MANY as u64);
}

/// What one has begun to seal, another one seals, zeroes and takes into use again in between.
#[test]
fn who_goes_on_late_changes_nothing() {
    let (path, clock) = (Path::new(), Arc::new(ManualClock::new(EPOCH * SECOND)));
    let config = SegmentConfig { max_ids: 1_000_000, ..SegmentConfig::default() };
    let open = || Counter::open(&path.0, &config, Clock::Manual(Arc::clone(&clock)));
    let (one, other) = (open().expect("a segment"), open().expect("a segment"));
    for minute in 0..6 {
        other.add_many(&ids(minute)).expect("a participant");
        clock.advance(60 * SECOND);
        // Begins, and stops in the middle.
        one.add(-1).expect("room");
        assert!(one.ring().newest() < EPOCH + 60 * minute as u64);
        let records = other.closed(1).expect("a record");
        assert_eq!(records[0].unique, MANY as u64 + u64::from(minute > 0));
        while other.stats().expect("figures").arenas[2] > 0 {
            other.maintenance().run().expect("maintenance");
        }
    }
}

#[test]
fn who_holds_a_lock_is_told_of_upkeep_before_it_is_done() {
    let (counter, clock) = in_memory(60, 1_000_000);
    assert!(counter.add_at_once(1).expect("room").is_some_and(|placement| placement.new));
    counter.add_many(&ids(0)).expect("a participant");
    clock.advance(60 * SECOND);
    assert_eq!(counter.add_at_once(1).expect("room"), None, "the window is to be turned");
    assert!(counter.add(1).expect("room").new);
    assert_eq!(counter.add_at_once(2).expect("room"), None, "and the one before to be sealed");
    assert_eq!(counter.count().expect("a count"), 1, "nothing was counted");
    calls_until(&counter, || counter.stats().expect("figures").arenas == [15, 1, 0]);
    counter.add(1).expect("room");
    assert!(counter.add_at_once(2).expect("room").is_some_and(|placement| placement.new));
}
