//! What an operator is shown of a segment.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use support::{EPOCH, Path, SECOND, in_memory};
use verve_core::{Counter, ListenerFigures, ManualClock, WorkerFigure, WorkerFigures};

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
fn every_process_reads_what_the_listeners_of_each_worker_have_served() {
    let clock = std::sync::Arc::new(ManualClock::new(EPOCH * SECOND));
    let path = Path::new();
    let (one, other, silent) =
        (path.open(60, &clock), path.open(60, &clock), path.open(60, &clock));
    let of = |counter: &Counter| -> Vec<ListenerFigures> {
        let listeners = counter.stats().expect("stats").listeners;
        assert!(listeners.iter().all(|(process, _)| *process == std::process::id()));
        listeners.into_iter().map(|(_, figures)| figures).collect()
    };
    let figures = ListenerFigures { connections: 9, accept_lane: 7, hyper_lane: 2, other: 1 };
    one.worker_figures().set(WorkerFigure::Serving, 1);
    one.worker_figures().report_listeners(figures);
    other.worker_figures().set(WorkerFigure::Serving, 1);
    let expected = [figures, ListenerFigures::default()];
    // A process that serves nothing has none.
    assert_eq!([of(&one), of(&other), of(&silent)], [expected; 3]);
    // Connections fall. Totals do not: a report may be overtaken by a later one.
    let later = ListenerFigures { connections: 3, accept_lane: 6, hyper_lane: 4, other: 1 };
    one.worker_figures().report_listeners(later);
    assert_eq!(of(&other)[0], ListenerFigures { accept_lane: 7, ..later });
    drop(one);
    assert_eq!(of(&other), [ListenerFigures::default()]);
    let next = path.open(60, &clock);
    next.worker_figures().set(WorkerFigure::Serving, 1);
    assert_eq!(of(&other), [ListenerFigures::default(); 2]);
}

#[test]
fn names_of_figures_are_distinct_and_in_order() {
    for (index, figure) in WorkerFigure::ALL.into_iter().enumerate() {
        assert_eq!(figure as usize, index);
    }
    let names: std::collections::HashSet<_> = WorkerFigure::ALL.map(WorkerFigure::name).into();
    assert_eq!(names.len(), WorkerFigure::ALL.len());
}
