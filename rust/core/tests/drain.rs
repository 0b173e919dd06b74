//! The drain of a service, as the processes of a segment see it.

mod support;

use std::sync::Arc;

use support::{EPOCH, Path, SECOND};
use verve_core::{Counter, ManualClock};

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
    assert_eq!(state(&path.open(60, &clock)), (7, 7));
}

fn state(counter: &Counter) -> (u64, u64) {
    (counter.drain().newest(), counter.drain().drained())
}
