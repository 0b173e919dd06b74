//! The drain of a service, as the processes of a segment see it.

mod support;

use std::sync::Arc;

use support::{EPOCH, Path, SECOND};
use verve_core::{Counter, ManualClock, WorkerFigure};

#[test]
fn every_process_sees_which_start_drains() {
    let clock = Arc::new(ManualClock::new(EPOCH * SECOND));
    let path = Path::new();
    let (one, other) = (path.open(60, &clock), path.open(60, &clock));
    assert_eq!(state(&one), (0, 0), "a new segment");

    one.drain().announce(7);
    assert_eq!(state(&other), (7, 0));
    assert!(other.drain().begin(7));
    assert!(!one.drain().begin(7), "it drains already");
    assert_eq!(state(&one), (7, 7));

    other.drain().announce(8);
    assert_eq!(state(&one), (8, 7), "a later start does not drain");
    assert!(one.drain().begin(8));
    assert!(other.drain().end());
    assert!(!one.drain().end(), "none drains");
    assert_eq!(state(&other), (8, 0));
    assert!(one.add(7).expect("room").new, "it counts all the while");
}

#[test]
fn a_drain_outlives_the_processes_of_the_segment() {
    let clock = Arc::new(ManualClock::new(EPOCH * SECOND));
    let path = Path::new();
    let before = path.open(60, &clock);
    before.drain().announce(7);
    assert!(before.drain().begin(7));
    drop(before);
    // So a worker that takes the place of a killed one drains.
    assert_eq!(state(&path.open(60, &clock)), (0, 7));
}

#[test]
fn a_worker_of_an_older_start_that_comes_back_is_not_the_newest() {
    let clock = Arc::new(ManualClock::new(EPOCH * SECOND));
    let path = Path::new();
    let (older, newer) = (path.open(60, &clock), path.open(60, &clock));
    newer.drain().announce(8);
    older.drain().announce(7);
    assert_eq!(state(&older), (8, 0));
    drop(newer);
    assert_eq!(state(&older), (7, 0), "the newer one has ended");
}

#[test]
fn the_last_worker_that_leaves_ends_its_drain() {
    let clock = Arc::new(ManualClock::new(EPOCH * SECOND));
    let path = Path::new();
    let (one, two, other) = (path.open(60, &clock), path.open(60, &clock), path.open(60, &clock));
    for worker in [&one, &two] {
        worker.drain().announce(7);
    }
    assert!(other.drain().begin(7));
    one.drain().leave();
    assert_eq!(state(&other), (7, 7));
    two.drain().leave();
    assert_eq!(state(&other), (0, 0));

    one.drain().announce(7);
    assert!(other.drain().begin(8));
    one.drain().leave();
    one.drain().leave();
    assert_eq!(state(&other), (0, 8), "that of another start goes on");
}

#[test]
fn the_figures_are_those_of_one_start() {
    let clock = Arc::new(ManualClock::new(EPOCH * SECOND));
    let path = Path::new();
    let (one, two, program) = (path.open(60, &clock), path.open(60, &clock), path.open(60, &clock));
    one.drain().announce(7);
    two.drain().announce(8);
    for counter in [&one, &two, &two, &program] {
        counter.worker_figures().add(WorkerFigure::OpenBatches, 1);
        counter.add(7).expect("room");
    }
    for (start, accepts) in [(7, 1), (8, 2), (9, 0)] {
        let found = program.drain().figures(start);
        assert_eq!(found.accepts, accepts);
        assert_eq!(found.workers[WorkerFigure::OpenBatches as usize], accepts);
    }
}

fn state(counter: &Counter) -> (u64, u64) {
    (counter.drain().newest(), counter.drain().drained())
}
