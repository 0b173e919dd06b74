//! What the hosts of a cluster share: a clock in place of the wall clock, and counts.

mod support;

use std::sync::Arc;

use support::{EPOCH, Path, SECOND, config, in_memory};
use verve_core::{Clock, Counter, Error, ManualClock, Noted, SegmentConfig, Unsealed};

const SECONDS: i64 = SECOND as i64;

/// What the reference is ahead of boot time, when it shows `at` seconds.
fn offset(clock: &ManualClock, at: i64) -> i64 {
    at * SECONDS - clock.boot() as i64
}

fn made_with(offset: Option<i64>, clock: &Arc<ManualClock>) -> Result<Counter, Error> {
    let config = SegmentConfig { clock_offset: offset, ..config(60, 1_000) };
    Counter::in_memory(&config, Clock::Manual(Arc::clone(clock)))
}

#[test]
fn a_reference_is_followed_by_the_rules_of_the_wall_clock() {
    // Seconds by which the source steps, and seconds that follow.
    let steps = [(3, 5), (-4, 5), (90, 8), (-90, 3), (3_600, 30), (-7, 40), (7, 2), (-3_600, 15)];
    let (wall, wall_clock) = in_memory(60, 1_000);
    let (steered, boot_clock) = in_memory(60, 1_000);
    steered.reference_clock().follow();
    let mut ahead = EPOCH as i64;
    for (step, seconds) in steps {
        wall_clock.step(step * SECONDS);
        ahead += step;
        // Of no interest to who follows a reference.
        boot_clock.step(-step * 7 * SECONDS);
        for _ in 0..seconds * 20 {
            for clock in [&wall_clock, &boot_clock] {
                clock.advance(SECOND / 20);
            }
            wall.maintenance().run().expect("maintenance");
            steered.reference_clock().steer(ahead * SECONDS - 1_000 * SECONDS);
            steered.maintenance().run().expect("maintenance");
            let (one, other) = (wall.stats().expect("figures"), steered.stats().expect("figures"));
            assert_eq!(wall.now(), steered.now(), "after a step of {step}");
            assert_eq!((one.distrusted, one.skew), (other.distrusted, other.skew));
            assert_eq!(steered.reference_clock().boot(), boot_clock.boot());
        }
    }
    assert!(steered.reference_clock().was_followed() && !wall.reference_clock().was_followed());
}

#[test]
fn offsets_of_any_size_are_judged() {
    let (counter, clock) = in_memory(60, 1_000);
    counter.reference_clock().follow();
    let now = counter.now();
    for offset in [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX] {
        counter.reference_clock().steer(offset);
        assert_eq!(counter.now(), now, "{offset}");
        assert!(
            counter.stats().expect("figures").distrusted
                && !counter.reference_clock().was_followed()
        );
    }
    counter.reference_clock().steer(offset(&clock, EPOCH as i64 + 5));
    assert!(counter.reference_clock().was_followed());
    assert_eq!(counter.now(), now + 5 * SECOND);
}

#[test]
fn a_segment_is_made_by_the_reference_and_continued_by_its_own_clock() {
    let clock = Arc::new(ManualClock::new(EPOCH * SECOND));
    let path = Path::new();
    let open = |offset| {
        let config = SegmentConfig { clock_offset: offset, ..config(60, 1_000) };
        Counter::open(&path.0, &config, Clock::Manual(Arc::clone(&clock))).expect("a segment")
    };
    let hour_ahead = EPOCH + 3_600;
    let counter = open(Some(offset(&clock, hour_ahead as i64)));
    assert!(counter.reference_clock().was_followed());
    assert_eq!(counter.now(), hour_ahead * SECOND);
    assert_eq!(counter.add(7).expect("room").window_start, hour_ahead);
    drop(counter);
    for offset in [None, Some(offset(&clock, EPOCH as i64 + 7_200))] {
        let counter = open(offset);
        assert!(counter.reference_clock().was_followed());
        assert_eq!(counter.now(), hour_ahead * SECOND);
    }
    assert!(!made_with(None, &clock).expect("a counter").reference_clock().was_followed());
}

#[test]
fn a_reference_before_the_epoch_makes_no_segment() {
    let clock = Arc::new(ManualClock::new(EPOCH * SECOND));
    let boot = clock.boot() as i64;
    assert!(matches!(made_with(Some(-boot - 1), &clock), Err(Error::Setting { .. })));
    assert_eq!(made_with(Some(-boot), &clock).expect("a counter").now(), 0);
}

#[test]
fn the_larger_count_is_reported() {
    let (counter, clock) = in_memory(60, 1_000);
    counter.add_many(&[1, 2, 3]).expect("a participant");
    let distinct =
        || counter.callback_cells().distinct(EPOCH, Unsealed::Seal).expect("a participant");
    assert_eq!((distinct(), counter.replication().cluster_count(EPOCH)), (Some(3), None));
    counter.replication().note_cluster_count(EPOCH, 2, Noted::SoFar);
    assert_eq!((distinct(), counter.replication().cluster_count(EPOCH)), (Some(3), Some(2)));
    counter.replication().note_cluster_count(EPOCH, 9, Noted::SoFar);
    counter.replication().note_cluster_count(EPOCH, 8, Noted::SoFar);
    assert_eq!((distinct(), counter.replication().cluster_count(EPOCH)), (Some(9), Some(9)));
    assert_eq!(counter.count().expect("a count"), 3, "this host's");
    clock.advance(60 * SECOND);
    assert_eq!(distinct(), Some(9));
    counter.replication().note_cluster_count(EPOCH, 8, Noted::Final);
    counter.replication().note_cluster_count(EPOCH, 10, Noted::SoFar);
    assert_eq!((distinct(), counter.replication().cluster_count(EPOCH)), (Some(8), Some(8)));
    assert_eq!(counter.closed(1).expect("records")[0].unique, 3, "this host's");
    assert_eq!(counter.replication().cluster_count(EPOCH + 60), None);
    for minute in 1..=16 {
        assert_eq!(counter.replication().cluster_count(EPOCH).is_some(), minute < 17);
        counter.replication().note_cluster_count(EPOCH + minute * 60, minute, Noted::SoFar);
    }
    assert_eq!((distinct(), counter.replication().cluster_count(EPOCH)), (Some(3), None));
    counter.replication().note_cluster_count(EPOCH, 99, Noted::Final);
    assert_eq!(
        counter.replication().cluster_count(EPOCH + 960),
        Some(16),
        "an older window is passed over"
    );
}
