//! Ids on their way to a store, and how many of them it has acknowledged.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use support::{EPOCH, Path, SECOND, in_memory};
use verve_core::{BatchFormat, Counter, Group, ManualClock, SHARDS, shard_of};

/// The ids of groups, by window; each group has its shard's ids only.
fn by_window(groups: Vec<Group>) -> BTreeMap<u64, Vec<i64>> {
    let mut windows: BTreeMap<u64, Vec<i64>> = BTreeMap::new();
    for group in groups {
        assert!(group.shard < SHARDS && !group.ids.is_empty());
        assert!(group.ids.iter().all(|&id| shard_of(id) == group.shard));
        windows.entry(group.window_start).or_default().extend(group.ids);
    }
    for ids in windows.values_mut() {
        ids.sort_unstable();
    }
    windows
}

fn take(counter: &Counter) -> BTreeMap<u64, Vec<i64>> {
    by_window(counter.replication().take(usize::MAX).expect("a participant"))
}

/// Takes what waits and acknowledges it.
fn deliver(counter: &Counter) -> u64 {
    let groups = counter.replication().take(1_000).expect("a participant");
    for group in &groups {
        let is_there =
            counter.replication().acknowledge(group.window_start, group.ids.len() as u64);
        assert!(is_there.expect("a participant"), "the arena is there");
    }
    groups.iter().map(|group| group.ids.len() as u64).sum()
}

#[test]
fn only_new_ids_wait_and_only_if_they_are_wanted() {
    let (counter, clock) = in_memory(60, 10_000);
    counter.add(1).expect("room");
    counter.replication().queue(100).expect("a participant");
    counter.add(1).expect("room");
    counter.add(2).expect("room");
    counter.add_many(&[2, 3, 3, 4]).expect("a participant");
    let _ = counter.http().accept(b"id=5");
    let _ = counter.http().accept_batch(BatchFormat::Text, b"5\n6\n");
    clock.advance(60 * SECOND);
    counter.add(1).expect("room");
    assert_eq!(counter.replication().queued().expect("a participant"), 6);
    let wanted = BTreeMap::from([(EPOCH, vec![2, 3, 4, 5, 6]), (EPOCH + 60, vec![1])]);
    assert_eq!(take(&counter), wanted);
    assert_eq!(take(&counter), BTreeMap::new());
    counter.replication().queue(0).expect("a participant");
    counter.add(7).expect("room");
    assert_eq!(take(&counter), BTreeMap::new());
    assert_eq!(counter.replication().left_out().expect("a participant"), 0);
}

#[test]
fn what_does_not_fit_is_left_out_and_never_acknowledged() {
    let (counter, clock) = in_memory(60, 100_000);
    counter.replication().queue(10_000).expect("a participant");
    counter.add_many(&(0..30_000).collect::<Vec<_>>()).expect("a participant");
    assert_eq!(counter.replication().queued().expect("a participant"), 10_000);
    assert_eq!(counter.replication().left_out().expect("a participant"), 20_000);
    let mut sum = 0;
    while counter.replication().queued().expect("a participant") > 0 {
        sum += deliver(&counter);
        assert_eq!(counter.replication().acknowledged(EPOCH).expect("a participant"), Some(sum));
    }
    assert_eq!(sum, 10_000);
    counter.retention().enable();
    clock.advance(60 * SECOND);
    counter.maintenance().run().expect("maintenance");
    assert_eq!(counter.closed(1).expect("records")[0].unique, 30_000);
    assert_eq!(counter.replication().acknowledged(EPOCH).expect("a participant"), Some(10_000));
}

#[test]
fn acknowledged_sums_go_with_the_arena() {
    let (counter, clock) = in_memory(60, 10_000);
    counter.replication().queue(100).expect("a participant");
    assert_eq!(counter.replication().acknowledged(EPOCH).expect("a participant"), Some(0));
    for turn in 0..40 {
        let start = EPOCH + turn * 120;
        let later = counter.replication().acknowledged(start + 60).expect("a participant");
        assert_eq!(later, None, "not begun");
        counter.add(7).expect("room");
        assert_eq!(deliver(&counter), 1);
        assert_eq!(counter.replication().acknowledged(start).expect("a participant"), Some(1));
        clock.advance(60 * SECOND);
        counter.add(8).expect("room");
        deliver(&counter);
        clock.advance(60 * SECOND);
        counter.maintenance().run().expect("maintenance");
        assert!(!counter.replication().acknowledge(start, 1).expect("a participant"), "cleared");
        assert_eq!(counter.replication().acknowledged(start).expect("a participant"), None);
    }
}

#[test]
fn seats_that_are_left_keep_their_sums_and_those_after_go_on() {
    let (path, clock) = (Path::new(), std::sync::Arc::new(ManualClock::new(EPOCH * SECOND)));
    let witness = path.open(60, &clock);
    for turn in 1..=20 {
        let counter = path.open(60, &clock);
        counter.replication().queue(100).expect("a participant");
        counter.add_many(&[turn * 10, turn * 10 + 1, turn * 10 + 2]).expect("a participant");
        let groups = counter.replication().take(2).expect("a participant");
        let taken: usize = groups.iter().map(|group| group.ids.len()).sum();
        assert_eq!(taken, 2);
        assert!(counter.replication().acknowledge(EPOCH, 2).expect("a participant"));
        drop(counter);
        witness.maintenance().run().expect("maintenance");
        assert_eq!(
            witness.replication().acknowledged(EPOCH).expect("a participant"),
            Some(2 * turn as u64)
        );
        assert_eq!(witness.count().expect("a count"), 3 * turn as u64);
    }
}

#[test]
fn each_id_is_given_out_once_over_all_threads_and_seats() {
    let (path, clock) = (Path::new(), std::sync::Arc::new(ManualClock::new(EPOCH * SECOND)));
    let counters: Vec<_> = (0..3).map(|_| path.open(60, &clock)).collect();
    for counter in &counters {
        counter.replication().queue(1 << 20).expect("a participant");
    }
    let over = AtomicBool::new(false);
    let taken = thread::scope(|scope| {
        let takers: Vec<_> = counters
            .iter()
            .map(|counter| {
                scope.spawn(|| {
                    let mut taken = Vec::new();
                    loop {
                        let last = over.load(Ordering::SeqCst);
                        let groups = counter.replication().take(777).expect("a participant");
                        if groups.is_empty() && last {
                            return taken;
                        }
                        for group in groups {
                            let count = group.ids.len() as u64;
                            assert!(
                                counter
                                    .replication()
                                    .acknowledge(group.window_start, count)
                                    .expect("participant")
                            );
                            taken.extend(group.ids);
                        }
                        let sum = counter
                            .replication()
                            .acknowledged(EPOCH)
                            .expect("a participant")
                            .expect("an arena");
                        assert!(sum <= counter.count().expect("a count"));
                    }
                })
            })
            .collect();
        thread::scope(|writers| {
            for (number, counter) in counters.iter().enumerate() {
                writers.spawn(move || {
                    for id in 0..20_000 {
                        counter.add(id).expect("room");
                    }
                });
                writers.spawn(move || {
                    let first = number as i64 * 5_000;
                    let ids: Vec<_> = (first..first + 30_000).collect();
                    counter.add_many(&ids).expect("a participant");
                });
            }
        });
        over.store(true, Ordering::SeqCst);
        takers.into_iter().flat_map(|taker| taker.join().expect("no panic")).collect::<Vec<_>>()
    });
    assert_eq!(taken.len(), 40_000);
    assert_eq!(taken.into_iter().collect::<BTreeSet<_>>(), (0..40_000).collect());
    assert_eq!(counters[0].replication().acknowledged(EPOCH).expect("a participant"), Some(40_000));
}

#[test]
fn placed_accepts_say_what_was_counted_where() {
    let (counter, clock) = in_memory(60, 10_000);
    let (_, placed) = counter.http().accept_placed(b"id=7&verdict=1");
    let placed = placed.expect("taken");
    assert_eq!((placed.window_start, placed.id), (EPOCH, 7));
    assert!(counter.http().accept_placed(b"id=x").1.is_none());
    let (answer, groups) = counter.http().accept_batch_placed(BatchFormat::Text, b"7\n8\n8\n-9\n");
    assert_eq!(answer.rejection, None);
    assert_eq!(by_window(groups), BTreeMap::from([(EPOCH, vec![-9, 7, 8, 8])]));
    assert!(counter.http().accept_batch_placed(BatchFormat::Text, b"1\nx\n").1.is_empty());
    clock.advance(60 * SECOND);
    let body: Vec<u8> = (0..9_000_i64).flat_map(i64::to_le_bytes).collect();
    let (answer, groups) = counter.http().accept_batch_placed(BatchFormat::Binary, &body);
    assert_eq!(answer.rejection, None);
    assert_eq!(by_window(groups), BTreeMap::from([(EPOCH + 60, (0..9_000).collect())]));
}

#[test]
fn a_batch_that_fills_the_table_places_what_it_recorded() {
    let (counter, _clock) = in_memory(60, 10);
    let body: Vec<u8> = (0..9_000_i64).flat_map(i64::to_le_bytes).collect();
    let (answer, groups) = counter.http().accept_batch_placed(BatchFormat::Binary, &body);
    let recorded = answer.position.expect("as many as fit");
    assert!(answer.rejection.is_some() && recorded > 0);
    assert_eq!(by_window(groups), BTreeMap::from([(EPOCH, (0..recorded as i64).collect())]));
}
