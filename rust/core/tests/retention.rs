//! Arenas that are kept until a store has their ids, and reading them in pieces.

mod support;

use std::sync::Arc;

use support::{EPOCH, Path, SECOND, in_memory, sorted};
use verve_core::{Counter, Error, ManualClock, shard_of};

fn start(minute: u64) -> u64 {
    EPOCH + minute * 60
}

/// Counts one id a minute, the minute's number, for `minutes`.
fn minutes(counter: &Counter, clock: &ManualClock, minutes: std::ops::Range<u64>) {
    for minute in minutes {
        let placed = counter.add(minute as i64).expect("room");
        assert_eq!(placed.window_start, start(minute));
        clock.advance(60 * SECOND);
        counter.maintenance().run().expect("maintenance");
    }
}

fn read(counter: &Counter, window_start: u64, most: usize) -> Vec<i64> {
    let (mut ids, mut position) = (Vec::new(), 0);
    loop {
        let piece = counter.retention().read_ids(window_start, position, most).expect("kept");
        for group in piece.groups {
            assert_eq!(group.window_start, window_start);
            assert!(group.ids.iter().all(|&id| shard_of(id) == group.shard));
            ids.extend(group.ids);
        }
        match piece.next {
            None => return ids,
            Some(next) => {
                assert!(next > position, "each call goes on");
                position = next;
            }
        }
    }
}

#[test]
fn arenas_are_kept_until_they_are_settled() {
    let (counter, clock) = in_memory(60, 1_000);
    minutes(&counter, &clock, 0..3);
    assert_eq!((counter.retention().settled(), counter.retention().kept()), (0, vec![]));
    counter.retention().settle(start(2));
    assert_eq!(counter.retention().settled(), 0, "nothing is settled where nothing is kept");
    counter.retention().enable();
    assert_eq!(counter.retention().settled(), start(2), "what was published before");
    minutes(&counter, &clock, 3..8);
    assert_eq!(counter.retention().kept(), (3..8).map(start).collect::<Vec<_>>());
    for minute in 3..8 {
        assert_eq!(counter.ids(Some(start(minute))).expect("kept"), [minute as i64]);
    }
    counter.retention().settle(start(4));
    assert_eq!(counter.retention().kept(), (5..8).map(start).collect::<Vec<_>>());
    counter.retention().settle(start(3));
    assert_eq!(counter.retention().settled(), start(4), "settling does not go back");
    counter.maintenance().run().expect("maintenance");
    assert!(matches!(counter.ids(Some(start(4))), Err(Error::Window { .. })));
    assert!(matches!(counter.retention().read_ids(start(4), 0, 9), Err(Error::Window { .. })));
    counter.retention().enable();
    assert_eq!(counter.retention().settled(), start(4), "it was on");
    counter.retention().settle(start(8));
    assert_eq!(counter.retention().settled(), start(7), "an open window is not settled");
    counter.maintenance().run().expect("maintenance");
    minutes(&counter, &clock, 8..10);
    assert_eq!(counter.retention().kept(), [start(8), start(9)]);
    counter.retention().disable();
    counter.maintenance().run().expect("maintenance");
    assert_eq!((counter.retention().settled(), counter.retention().kept()), (0, vec![]));
    minutes(&counter, &clock, 10..40);
}

#[test]
fn a_full_house_refuses_the_new_window_until_something_is_settled() {
    let (counter, clock) = in_memory(60, 1_000);
    counter.retention().enable();
    minutes(&counter, &clock, 0..15);
    counter.add(15).expect("the last arena");
    clock.advance(60 * SECOND);
    assert!(matches!(counter.add(16), Err(Error::NoArena)));
    assert!(matches!(counter.maintenance().run(), Err(Error::NoArena)));
    assert!(matches!(counter.add(16), Err(Error::NoArena)));
    assert_eq!(counter.retention().kept(), (0..15).map(start).collect::<Vec<_>>());
    assert_eq!(counter.ids(Some(start(0))).expect("kept"), [0]);
    assert_eq!(read(&counter, start(14), 1), [14]);
    assert!(
        counter.replication().acknowledge(start(15), 1).expect("a participant"),
        "the window that cannot end"
    );
    counter.retention().settle(start(0));
    assert_eq!(counter.add(16).expect("room again").window_start, start(16));
    assert_eq!(counter.retention().kept(), (1..16).map(start).collect::<Vec<_>>());
    assert_eq!(counter.replication().acknowledged(start(15)).expect("a participant"), Some(1));
    let records = counter.closed(100).expect("records");
    let found: Vec<_> = records.iter().map(|its| (its.window_start, its.unique)).collect();
    assert_eq!(found, (0..16).map(|minute| (start(minute), 1)).collect::<Vec<_>>());
    counter.retention().settle(start(15));
    minutes(&counter, &clock, 16..17);
    assert_eq!(counter.retention().kept(), [start(16)]);
    assert_eq!(counter.stats().expect("figures").arenas[0], 14);
}

#[test]
fn gaps_and_skipped_windows_need_no_settling_of_their_own() {
    let (counter, clock) = in_memory(60, 1_000);
    counter.retention().enable();
    counter.add(1).expect("room");
    clock.advance(600 * SECOND);
    counter.maintenance().run().expect("maintenance");
    assert_eq!(counter.closed(100).expect("records").len(), 10);
    assert_eq!(counter.retention().kept(), [start(0)]);
    counter.retention().settle(start(9));
    counter.maintenance().run().expect("maintenance");
    assert_eq!(counter.stats().expect("figures").arenas, [15, 1, 0]);
}

#[test]
fn the_rule_is_the_segments_and_lost_claims_are_cleared_all_the_same() {
    let (path, clock) = (Path::new(), Arc::new(ManualClock::new(EPOCH * SECOND)));
    let counters: Vec<_> = (0..3).map(|_| path.open(60, &clock)).collect();
    counters[0].retention().enable();
    for minute in 0..60 {
        // All turn at once, so that some claims lose.
        std::thread::scope(|scope| {
            for (number, counter) in counters.iter().enumerate() {
                scope.spawn(move || {
                    for id in 0..20 {
                        counter.add(number as i64 * 100 + id).expect("room");
                    }
                });
            }
        });
        clock.advance(60 * SECOND);
        for counter in &counters {
            counter.maintenance().run().expect("maintenance");
        }
        let kept = counters[1].retention().kept();
        assert_eq!(kept.last(), Some(&start(minute)));
        if minute % 5 == 4 {
            assert_eq!(kept.len(), 5);
            assert!(kept.iter().all(|&window| read(&counters[2], window, 7).len() == 60));
            counters[2].retention().settle(start(minute));
            counters[2].maintenance().run().expect("maintenance");
            assert_eq!(counters[0].stats().expect("figures").arenas, [15, 1, 0]);
        }
    }
    drop(counters);
    let again = path.open(60, &clock);
    assert_eq!(again.retention().settled(), start(59), "a segment keeps the rule");
}

#[test]
fn a_sealed_window_is_read_in_pieces_of_any_size() {
    let (counter, clock) = in_memory(60, 100_000);
    counter.retention().enable();
    let ids: Vec<i64> = (-100_000..100_000).step_by(2).collect();
    counter.add_many(&ids).expect("a participant");
    clock.advance(60 * SECOND);
    counter.maintenance().run().expect("maintenance");
    assert_eq!(sorted(counter.ids(Some(EPOCH)).expect("kept")), ids);
    for most in [1, 1_000, 99_999, usize::MAX] {
        assert_eq!(sorted(read(&counter, EPOCH, most)), ids, "{most}");
    }
    let piece = counter.retention().read_ids(EPOCH, 0, 1_000).expect("kept");
    let found: usize = piece.groups.iter().map(|group| group.ids.len()).sum();
    assert!((1_000..1_010).contains(&found), "{found}");
    let again = counter.retention().read_ids(EPOCH, 0, 1_000).expect("kept");
    assert_eq!(piece, again, "positions are stable");
    let beyond = counter.retention().read_ids(EPOCH, u64::MAX, 1_000).expect("kept");
    assert_eq!((beyond.groups, beyond.next), (vec![], None));
    let none = counter.retention().read_ids(EPOCH, 0, 0).expect("kept");
    assert!(none.next.is_some_and(|next| next > 0), "each call comes further");
}
