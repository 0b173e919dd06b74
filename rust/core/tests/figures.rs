//! What an operator is shown of a segment.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use support::{EPOCH, Path, SECOND, in_memory};
use verve_core::{Counter, ManualClock, WorkerFigure, WorkerFigures};

#[test]
fn totals_never_fall_while_arenas_are_zeroed() {
    let (counter, clock) = in_memory(1, 1_000);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let watch = || {
            let mut before = [0; 3];
            let mut looks = 0;
            while !over.load(Ordering::Relaxed) {
                let stats = counter.stats().expect("stats");
                let now = [stats.requests, stats.new, stats.late];
                assert!(before.iter().zip(now).all(|(before, now)| *before <= now), "{looks}");
                before = now;
                looks += 1;
            }
            before
        };
        let watchers = [scope.spawn(watch), scope.spawn(watch)];
        let _ends = Ends(&over);
        assert!(counter.lease().acquire().expect("a participant").is_some());
        for _ in 0..10_000 {
            clock.advance(SECOND);
            assert!(counter.add(7).expect("room").new);
            counter.maintenance().run().expect("maintenance");
        }
        let stats = counter.stats().expect("stats");
        assert_eq!([stats.requests, stats.new], [10_000, 10_000]);
        over.store(true, Ordering::Relaxed);
        for watcher in watchers {
            watcher.join().expect("totals that only rise");
        }
    });
}

/// Ends the watchers, also when a test panics.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn told(counter: &Counter) -> WorkerFigures {
    counter.stats().expect("stats").workers
}

#[test]
fn what_workers_tell_is_added_up_and_what_holds_of_the_dead_is_forgotten() {
    let clock = std::sync::Arc::new(ManualClock::new(EPOCH * SECOND));
    let path = Path::new();
    let (one, other) = (path.open(60, &clock), path.open(60, &clock));
    one.worker_figures().add(WorkerFigure::Sent, 3);
    other.worker_figures().add(WorkerFigure::Sent, 4);
    one.worker_figures().set(WorkerFigure::FastPath, 1);
    other.worker_figures().set(WorkerFigure::FastPath, 1);
    other.worker_figures().set(WorkerFigure::Waiting, 5);
    other.worker_figures().set(WorkerFigure::OpenBatches, 2);
    assert_eq!(told(&one), told(&other));
    assert_eq!(told(&one), [7, 0, 0, 0, 5, 2, 0, 0, 2, 0]);
    drop(other);
    assert_eq!(told(&one), [7, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
    let next = path.open(60, &clock);
    assert_eq!(told(&next), [7, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
}

#[test]
fn names_of_figures_are_distinct_and_in_order() {
    for (index, figure) in WorkerFigure::ALL.into_iter().enumerate() {
        assert_eq!(figure as usize, index);
    }
    let names: std::collections::HashSet<_> = WorkerFigure::ALL.map(WorkerFigure::name).into();
    assert_eq!(names.len(), WorkerFigure::ALL.len());
}
