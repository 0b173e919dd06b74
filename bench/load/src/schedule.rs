//! The schedule: which connection may send, and when.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::options::{Options, Pace};
use crate::tally::Tally;
use crate::ticker::Ticker;

/// How long an open loop goes on after its end for requests that are overdue.
const GRACE: u64 = 10_000_000_000;
/// The pacer wakes up no more often than this.
const FINEST: Duration = Duration::from_micros(50);
/// Longest sleep before the stop flag is looked at again.
const NAP: u64 = 100_000_000;

/// A permission to send.
pub struct Turn {
    pub requests: usize,
    /// The time at which the open loop was due to send it, in nanoseconds since the start.
    pub intended: Option<u64>,
    /// Number of the boundary that it is sent near, from 0; 0 in other modes.
    pub block: u64,
}

/// Gives permissions to send to the connections.
pub struct Schedule {
    mode: Mode,
    depth: u64,
    /// The total number of requests.
    total: u64,
    taken: Cell<u64>,
    stop: Cell<bool>,
}

enum Mode {
    Closed { until: u64 },
    Paced { interval: f64, due: Semaphore },
    Around { half: i64, first: i64, boundaries: i64 },
}

impl Schedule {
    pub fn new(options: &Options, clock: &Clock) -> Self {
        let until = (options.duration).map_or(u64::MAX, |duration| duration.as_nanos() as u64);
        let mut total = options.requests.unwrap_or(u64::MAX);
        let mode = match options.pace {
            Pace::Closed => Mode::Closed { until },
            Pace::Rate(rate) => {
                if let Some(duration) = options.duration {
                    total = total.min((duration.as_secs_f64() * rate).round() as u64);
                }
                Mode::Paced { interval: 1e9 / rate, due: Semaphore::new(0) }
            }
            Pace::Around { half, boundaries } => {
                let half = half.as_nanos() as i64;
                let now = clock.now();
                let nearest = clock.nearest_boundary(now);
                // The first boundary is one whose span is still whole.
                let begun = clock.past_boundary(nearest, now) > -half;
                Mode::Around {
                    half,
                    first: nearest + i64::from(begun),
                    boundaries: boundaries as i64,
                }
            }
        };
        Self {
            mode,
            depth: options.depth as u64,
            total,
            taken: Cell::new(0),
            stop: Cell::new(false),
        }
    }

    /// Ends the run: answers that are due are still awaited.
    pub fn stop(&self) {
        self.stop.set(true);
    }

    /// Waits until a connection may send; `None` when the run is over.
    pub async fn turn(&self, clock: &Clock) -> Option<Turn> {
        if self.over() {
            return None;
        }
        match &self.mode {
            Mode::Closed { until } => {
                if clock.now() >= *until {
                    return None;
                }
                Some(Turn { requests: self.take(self.depth), intended: None, block: 0 })
            }
            Mode::Paced { interval, due } => {
                due.acquire().await.ok()?.forget();
                let late = clock.now() > due_at(*interval, self.total).saturating_add(GRACE);
                if self.over() || late {
                    return None;
                }
                let intended = due_at(*interval, self.taken.get());
                Some(Turn { requests: self.take(1), intended: Some(intended), block: 0 })
            }
            Mode::Around { half, first, boundaries } => {
                let block = self.next_span(clock, *half, *first).await;
                if self.over() || block >= *boundaries {
                    return None;
                }
                let requests = self.take(self.depth);
                Some(Turn { requests, intended: None, block: block as u64 })
            }
        }
    }

    /// Lets requests of an open loop become due, until all are.
    pub async fn pace(&self, clock: &Clock, tally: &RefCell<Tally>, workers: u32) {
        let Mode::Paced { interval, due } = &self.mode else {
            return;
        };
        let mut ticker = Ticker::new(Duration::from_nanos(*interval as u64).max(FINEST));
        let mut released = 0;
        while released < self.total && !self.stop.get() {
            let now = clock.now();
            let reached = ((now as f64 / interval) as u64 + 1).min(self.total);
            if reached > released {
                let late = now.saturating_sub(due_at(*interval, released));
                tally.borrow_mut().pacing.record(late);
                due.add_permits((reached - released) as usize);
                released = reached;
            }
            ticker.tick().await;
        }
        // All waiting connections learn that the run is over.
        due.add_permits(workers as usize);
    }

    /// Requests of an open loop that were due and never sent.
    pub fn unsent(&self) -> u64 {
        match self.mode {
            Mode::Paced { .. } if !self.stop.get() => self.total - self.taken.get(),
            _ => 0,
        }
    }

    pub fn over(&self) -> bool {
        self.stop.get() || self.taken.get() >= self.total
    }

    fn take(&self, wanted: u64) -> usize {
        let count = wanted.min(self.total - self.taken.get());
        self.taken.set(self.taken.get() + count);
        count as usize
    }

    /// Waits for the span round a boundary and says how many boundaries after the first it is.
    async fn next_span(&self, clock: &Clock, half: i64, first: i64) -> i64 {
        loop {
            let now = clock.now();
            let mut boundary = clock.nearest_boundary(now).max(first);
            if clock.past_boundary(boundary, now) > half {
                boundary += 1;
            }
            let ahead = -half - clock.past_boundary(boundary, now);
            if ahead <= 0 || self.stop.get() {
                return boundary - first;
            }
            tokio::time::sleep_until(clock.instant(now + (ahead as u64).min(NAP))).await;
        }
    }
}

/// When request `index` of an open loop is due.
fn due_at(interval: f64, index: u64) -> u64 {
    (index as f64 * interval) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(arguments: &[&str]) -> (Schedule, Clock) {
        let target = ["127.0.0.1:80", "--window", "1"];
        let options = Options::parse(target.iter().chain(arguments)).unwrap();
        let clock = Clock::start(options.window, options.near);
        (Schedule::new(&options, &clock), clock)
    }

    #[tokio::test]
    async fn a_closed_loop_gives_out_exactly_its_requests() {
        let (schedule, clock) = schedule(&["--requests", "10", "--depth", "4"]);
        let mut turns = Vec::new();
        while let Some(turn) = schedule.turn(&clock).await {
            turns.push(turn.requests);
        }
        assert_eq!(turns, [4, 4, 2]);
    }

    #[tokio::test]
    async fn an_open_loop_gives_out_what_is_due_and_no_more() {
        let (schedule, clock) = schedule(&["--rate", "2000", "--duration", "0.05"]);
        let tally = RefCell::new(Tally::new());
        let send = async {
            let mut intended = Vec::new();
            while let Some(turn) = schedule.turn(&clock).await {
                intended.push(turn.intended.unwrap());
                assert!(intended.last().unwrap() <= &clock.now(), "never early");
            }
            intended
        };
        let (intended, ()) = tokio::join!(send, schedule.pace(&clock, &tally, 1));
        let wanted: Vec<u64> = (0..100).map(|index| index * 500_000).collect();
        assert_eq!(intended, wanted);
        assert_eq!(schedule.unsent(), 0);
    }

    #[tokio::test]
    async fn turns_near_boundaries_only() {
        let (schedule, clock) = schedule(&["--around-boundary", "20", "--boundaries", "2"]);
        let mut blocks = Vec::new();
        while let Some(turn) = schedule.turn(&clock).await {
            let now = clock.now();
            let off = clock.past_boundary(clock.nearest_boundary(now), now);
            assert!(off.abs() <= 25_000_000, "{off} ns from the boundary");
            blocks.push(turn.block);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        blocks.dedup();
        assert_eq!(blocks, [0, 1]);
    }
}
