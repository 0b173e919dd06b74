//! The clock's rules, with maintenance twenty times per second: steps of the wall clock forward and back,
//! glitches, and a host that slept.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use support::{EPOCH, SECOND, in_memory};
use verve_core::{Counter, ManualClock, Record};

const MINUTE: i64 = 60;
const HOUR: i64 = 3_600;
const YEAR: i64 = 365 * 24 * HOUR;

/// A counter under a leader, and all that was ever seen of it.
struct Watched {
    counter: Counter,
    clock: Arc<ManualClock>,
    /// Seconds since the start by the boot clock.
    boot: f64,
    records: BTreeMap<u64, Record>,
    published: u64,
    current: u64,
    next_id: i64,
}

impl Watched {
    fn new(window_seconds: u32) -> Self {
        let (counter, clock) = in_memory(window_seconds, 100_000);
        assert!(counter.lease().acquire().expect("a participant").is_some());
        Self {
            counter,
            clock,
            boot: 0.0,
            records: BTreeMap::new(),
            published: 0,
            current: 0,
            next_id: 0,
        }
    }

    /// Seconds that the segment's clock is ahead of where boot time would have taken it.
    fn ahead(&self) -> f64 {
        self.counter.now() as f64 / 1e9 - EPOCH as f64 - self.boot
    }

    fn is_distrusted(&self) -> bool {
        self.counter.stats().expect("figures").distrusted
    }

    fn step(&self, seconds: i64) {
        self.clock.step(seconds * SECOND as i64);
    }

    /// Lets time go on, and looks at everything twenty times a second.
    fn run(&mut self, seconds: u64) {
        for _ in 0..seconds * 20 {
            self.clock.advance(SECOND / 20);
            self.boot += 0.05;
            self.counter.maintenance().run().expect("maintenance");
            self.look();
        }
    }

    fn look(&mut self) {
        let placement = self.counter.add(self.next_id).expect("room");
        self.next_id += 1;
        assert!(placement.new);
        assert!(placement.window_start >= self.current, "the window went back");
        self.current = placement.window_start;
        let published = self.counter.ring().newest();
        if published == self.published {
            return;
        }
        assert!(published > self.published && published < self.current);
        for record in self.counter.closed(1_000).expect("records") {
            if let Some(seen) = self.records.get(&record.window_start) {
                assert_eq!(seen, &record, "a window was published twice");
                continue;
            }
            assert!(record.window_start > self.published, "published behind what was");
            assert!(record.window_start <= published);
            self.records.insert(record.window_start, record);
        }
        self.published = published;
    }

    /// Each id is in one window, and the records have them all; the number of gaps.
    fn settle(mut self) -> usize {
        self.step_to_boundary();
        self.look();
        let unique: u64 = self.records.values().map(|record| record.unique).sum();
        assert_eq!(unique, self.next_id as u64 - 1, "all but the last, which is in the new window");
        let gaps: Vec<_> = self.records.values().filter(|record| record.gap).collect();
        assert!(gaps.iter().all(|record| (record.unique, record.requests) == (0, 0)));
        gaps.len()
    }

    fn step_to_boundary(&mut self) {
        let rest = self.counter.until_boundary();
        self.clock.advance(rest);
        self.boot += rest as f64 / 1e9;
        self.counter.maintenance().run().expect("maintenance");
    }
}

fn close(left: f64, right: f64) -> bool {
    (left - right).abs() < 0.01
}

#[test]
fn small_steps_are_followed_at_once() {
    for seconds in [-5, -1, 1, 5] {
        let mut watched = Watched::new(1);
        watched.run(5);
        watched.step(seconds);
        watched.run(1);
        assert!(close(watched.ahead(), seconds as f64), "{seconds}: {}", watched.ahead());
        assert!(!watched.is_distrusted());
        watched.run(10);
        // Forward, the windows that were jumped over are there as gaps; back, none comes twice.
        let gaps = watched.settle();
        assert!(gaps <= seconds.max(0) as usize, "{seconds}: {gaps}");
    }
}

#[test]
fn a_step_back_holds_the_window() {
    let mut watched = Watched::new(60);
    watched.run(61);
    let window = watched.current;
    watched.step(-2);
    watched.run(2);
    assert_eq!(watched.current, window);
    assert!(close(watched.ahead(), -2.0));
    watched.run(70);
    assert_eq!(watched.current, window + 60);
    assert_eq!(watched.settle(), 0);
}

#[test]
fn a_large_step_forward_is_believed_after_ten_seconds() {
    for (seconds, gaps) in [(90, 0..=1), (HOUR, 58..=59), (2 * HOUR, 60..=60), (YEAR, 60..=60)] {
        let mut watched = Watched::new(60);
        watched.run(10);
        watched.step(seconds);
        watched.run(9);
        assert!(close(watched.ahead(), 0.0), "{seconds}: not yet");
        assert!(watched.is_distrusted());
        watched.run(2);
        assert!(close(watched.ahead(), seconds as f64), "{seconds}: {}", watched.ahead());
        assert!(!watched.is_distrusted());
        watched.run(130);
        let found = watched.settle();
        assert!(gaps.contains(&found), "{seconds}: {found} gaps");
    }
}

#[test]
fn a_large_step_back_is_never_followed() {
    for seconds in [-MINUTE - 30, -HOUR, -YEAR] {
        let mut watched = Watched::new(60);
        watched.run(10);
        watched.step(seconds);
        watched.run(200);
        assert!(close(watched.ahead(), 0.0), "{seconds}: {}", watched.ahead());
        assert!(watched.is_distrusted());
        // The wall clock catches up, or is set right.
        watched.step(-seconds);
        watched.run(1);
        assert!(!watched.is_distrusted());
        assert_eq!(watched.settle(), 0);
    }
}

#[test]
fn a_wall_clock_that_catches_up_slowly_is_trusted_in_the_end() {
    let mut watched = Watched::new(60);
    watched.step(-20);
    for _ in 0..20 {
        watched.run(3);
        watched.step(1);
    }
    assert!(!watched.is_distrusted());
    assert!(watched.ahead() <= 0.01 && watched.ahead() >= -5.01);
    watched.run(61);
    assert_eq!(watched.settle(), 0);
}

#[test]
fn glitches_do_nothing() {
    for seconds in [YEAR, -YEAR, HOUR, -HOUR] {
        let mut watched = Watched::new(1);
        watched.run(5);
        // Again and again, but never for long.
        for _ in 0..4 {
            watched.step(seconds);
            watched.run(1);
            assert!(watched.is_distrusted());
            watched.step(-seconds);
            watched.run(1);
            assert!(!watched.is_distrusted());
            watched.run(8);
        }
        assert!(close(watched.ahead(), 0.0));
        assert_eq!(watched.settle(), 0);
    }
}

#[test]
fn a_clock_that_jumps_about_is_not_believed() {
    let mut watched = Watched::new(60);
    for _ in 0..10 {
        watched.step(HOUR);
        watched.run(6);
    }
    assert!(close(watched.ahead(), 0.0), "no value lasted for ten seconds");
    watched.run(11);
    assert!(close(watched.ahead(), 10.0 * HOUR as f64));
    assert_eq!(watched.settle(), 60);
}

#[test]
fn a_host_that_slept_finds_its_windows_again() {
    let mut watched = Watched::new(60);
    watched.run(130);
    // Boot time goes on while a host sleeps, and while all of its processes are stopped.
    watched.clock.advance(3 * HOUR as u64 * SECOND);
    watched.boot += 3.0 * HOUR as f64;
    watched.run(61);
    assert!(!watched.is_distrusted());
    assert_eq!(watched.settle(), 60);
}

#[test]
fn the_windows_of_the_day_before_are_kept_over_a_long_sleep() {
    let watched = Watched::new(60);
    for _ in 0..20 {
        watched.counter.add(1).expect("room");
        watched.clock.advance(MINUTE as u64 * SECOND);
        watched.counter.maintenance().run().expect("maintenance");
    }
    let before = watched.counter.closed(usize::MAX).expect("records");
    assert_eq!(before.len(), 20);
    // Not by whole days: a place of the ring is a minute of the day.
    watched.clock.advance((9 * 24 + 12) * HOUR as u64 * SECOND);
    let after = watched.counter.closed(usize::MAX).expect("records");
    assert_eq!(after[..20], before);
    assert_eq!(after.len(), 20 + 1 + 60);
}

#[test]
fn a_clock_at_the_epoch_works() {
    let clock = Arc::new(ManualClock::new(0));
    let counter = Counter::in_memory(
        &support::config(1, 1_000),
        verve_core::Clock::Manual(Arc::clone(&clock)),
    )
    .expect("a counter in memory");
    for id in 0..5 {
        assert!(counter.add(id).expect("room").new);
        clock.advance(SECOND);
    }
    let records = counter.closed(100).expect("records");
    assert_eq!(records.iter().map(|record| record.unique).sum::<u64>(), 5);
}
