//! Threads that count over boundaries, while others open, seal, maintain and read windows: what they counted
//! is what the records say.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use support::{EPOCH, SECOND, in_memory};
use verve_core::Counter;

/// The ids that a thread counted, by window; and how often it counted as new.
#[derive(Default)]
struct Answers {
    ids: BTreeMap<u64, BTreeSet<i64>>,
    new: BTreeMap<u64, u64>,
}

impl Answers {
    fn add(&mut self, counter: &Counter, id: i64) {
        let placement = counter.add(id).expect("room");
        self.ids.entry(placement.window_start).or_default().insert(id);
        *self.new.entry(placement.window_start).or_default() += u64::from(placement.new);
    }

    /// A batch of ids of which each is in one of the windows that the answer names.
    fn add_many(&mut self, counter: &Counter, ids: &[i64]) {
        let batch = counter.add_many(ids).expect("a participant");
        assert!(batch.stopped.is_none() && batch.recorded == ids.len(), "{batch:?}");
        for share in &batch.shares {
            *self.new.entry(share.window_start).or_default() += share.new;
        }
    }

    fn merge(&mut self, other: Self) {
        for (window, ids) in other.ids {
            self.ids.entry(window).or_default().extend(ids);
        }
        for (window, new) in other.new {
            *self.new.entry(window).or_default() += new;
        }
    }
}

/// A small generator (`SplitMix64`): the tests need many numbers, not good ones.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}

fn compare(counter: &Counter, answers: &Answers, exact_ids: bool) {
    let records = counter.closed(usize::MAX).expect("records");
    let by_start: BTreeMap<u64, u64> =
        records.iter().map(|record| (record.window_start, record.unique)).collect();
    assert_eq!(by_start.len(), records.len(), "no window twice");
    let first = records.first().map_or(0, |record| record.window_start);
    for (index, record) in records.iter().enumerate() {
        assert_eq!(record.window_start, first + index as u64, "no window missing");
        assert!(record.requests >= record.unique);
    }
    for (&start, &new) in &answers.new {
        assert_eq!(by_start[&start], new, "window {start}: as often new as there are ids");
        if exact_ids {
            assert_eq!(by_start[&start], answers.ids[&start].len() as u64, "window {start}");
        }
    }
    assert_eq!(by_start.values().sum::<u64>(), answers.new.values().sum::<u64>());
}

/// `writers` run against a clock that goes `boundaries` windows on, with `bystanders` beside them.
fn run(
    boundaries: u64,
    writers: &(dyn Fn(&Counter, u64, &AtomicBool) -> Answers + Sync),
    bystander: &(dyn Fn(&Counter) + Sync),
) -> (Counter, Answers) {
    let (counter, clock) = in_memory(1, 100_000);
    let over = AtomicBool::new(false);
    let answers = thread::scope(|scope| {
        let handles: Vec<_> = (0..3)
            .map(|number| {
                let (counter, over) = (&counter, &over);
                scope.spawn(move || writers(counter, number, over))
            })
            .collect();
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    bystander(&counter);
                }
            });
        }
        for _ in 0..boundaries * 4 {
            thread::yield_now();
            thread::sleep(std::time::Duration::from_micros(500));
            clock.advance(SECOND / 4);
        }
        over.store(true, Ordering::Relaxed);
        let mut answers = Answers::default();
        for handle in handles {
            answers.merge(handle.join().expect("no panic"));
        }
        answers
    });
    counter.seal().expect("the last record");
    (counter, answers)
}

#[test]
fn every_window_has_the_ids_that_were_acknowledged_in_it() {
    let (counter, answers) = run(
        40,
        &|counter, number, over| {
            let (mut answers, mut random) = (Answers::default(), Random(number));
            while !over.load(Ordering::Relaxed) {
                answers.add(counter, (random.next() % 3_000) as i64);
            }
            answers
        },
        &|counter| {
            counter.maintenance().run().expect("maintenance");
            let count = counter.count().expect("a count");
            assert!(count <= 3_000);
            thread::yield_now();
        },
    );
    compare(&counter, &answers, true);
    assert!(answers.new.keys().all(|&start| start >= EPOCH));
}

#[test]
fn batches_say_how_many_were_new_in_which_window() {
    let (counter, answers) = run(
        40,
        &|counter, number, over| {
            let (mut answers, mut random) = (Answers::default(), Random(number + 10));
            while !over.load(Ordering::Relaxed) {
                let length = (random.next() % 6_000) as usize;
                let ids: Vec<i64> = (0..length).map(|_| (random.next() % 20_000) as i64).collect();
                answers.add_many(counter, &ids);
            }
            answers
        },
        &|counter| {
            counter.maintenance().run().expect("maintenance");
            counter.maintenance().populate().expect("pages");
            thread::yield_now();
        },
    );
    compare(&counter, &answers, false);
}

#[test]
fn without_maintenance_the_writers_open_and_seal_by_themselves() {
    let (counter, answers) = run(
        40,
        &|counter, number, over| {
            let (mut answers, mut random) = (Answers::default(), Random(number + 20));
            while !over.load(Ordering::Relaxed) {
                answers.add(counter, (random.next() % 500) as i64);
            }
            answers
        },
        &|_| thread::yield_now(),
    );
    compare(&counter, &answers, true);
}

#[test]
fn windows_that_are_sealed_early_and_held_are_exact() {
    // The ring must hold all that are compared.
    let seals = AtomicU64::new(0);
    let (counter, answers) = run(
        40,
        &|counter, number, over| {
            let (mut answers, mut random) = (Answers::default(), Random(number + 30));
            while !over.load(Ordering::Relaxed) {
                answers.add(counter, (random.next() % 500) as i64);
            }
            answers
        },
        &|counter| {
            thread::yield_now();
            if seals.fetch_add(1, Ordering::Relaxed) > 600 {
                return;
            }
            let start = counter.hold().expect("a window");
            counter.seal().expect("a record");
            let sealed: Vec<_> = counter.closed(50).expect("records");
            let ids = counter.ids(Some(start)).expect("held");
            let record = sealed.iter().find(|record| record.window_start == start);
            assert_eq!(ids.len() as u64, record.expect("sealed").unique);
            let distinct: BTreeSet<i64> = ids.into_iter().collect();
            assert_eq!(distinct.len() as u64, record.expect("sealed").unique);
            counter.release(start).expect("held");
            counter.maintenance().run().expect("maintenance");
        },
    );
    compare(&counter, &answers, true);
}

/// Threads fill a table that begins small, and it is sealed, read and answers while its ids move.
#[test]
fn a_table_that_grows_may_be_sealed_at_any_moment() {
    const IDS: u64 = 400_000;
    for round in 0..if cfg!(debug_assertions) { 6 } else { 60 } {
        let (counter, _clock) = in_memory(60, 2 * IDS);
        let sealed = AtomicBool::new(false);
        let new = AtomicU64::new(0);
        thread::scope(|scope| {
            for number in 0..3 {
                let (counter, sealed, new) = (&counter, &sealed, &new);
                scope.spawn(move || {
                    let mut random = Random(3 * round + number);
                    while !sealed.load(Ordering::Relaxed) {
                        let length = [1, 50, 5_000][(random.next() % 3) as usize];
                        let ids: Vec<i64> =
                            (0..length).map(|_| (random.next() % IDS) as i64).collect();
                        let batch = counter.add_many(&ids).expect("a participant");
                        assert!(batch.stopped.is_none(), "{batch:?}");
                        let first = batch.shares.iter().filter(|share| share.window_start == EPOCH);
                        new.fetch_add(first.map(|share| share.new).sum(), Ordering::Relaxed);
                    }
                });
            }
            let start = counter.hold().expect("a window");
            let wanted = Random(round).next() % IDS;
            let mut before = 0;
            loop {
                let count = counter.count().expect("a count");
                let ids = counter.ids(None).expect("ids");
                let distinct: BTreeSet<i64> = ids.iter().copied().collect();
                assert_eq!(distinct.len(), ids.len(), "each id once");
                assert!(before <= distinct.len() as u64, "an id is gone");
                before = distinct.len() as u64;
                if count >= wanted {
                    break;
                }
            }
            let record = counter.seal().expect("a record");
            sealed.store(true, Ordering::Relaxed);
            let ids = counter.ids(Some(start)).expect("held");
            let distinct: BTreeSet<i64> = ids.iter().copied().collect();
            assert_eq!((ids.len(), distinct.len() as u64), (distinct.len(), record.unique));
            assert!(before <= record.unique);
        });
        let record = counter.closed(1).expect("records")[0];
        assert_eq!(record.window_start, EPOCH);
        assert_eq!(record.unique, new.into_inner(), "as often new as there are ids");
    }
}
