//! What is told of callbacks: figures for all processes, and what came of each attempt, within
//! limits.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use verve_core::Counter;
use verve_core::segment::layout::CALLBACK_FIGURES;

use crate::failure::Cause;

/// What is counted. The first are the ways in which a callback ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Outcome {
    /// Answered with 2xx.
    Delivered,
    /// The guard refused its address.
    Refused,
    /// Answered with 3xx or with a 4xx that another attempt would not change.
    Rejected,
    /// Answered with 410.
    Gone,
    /// Every attempt failed.
    Exhausted,
    /// Too old when its owner's heir found it.
    Expired,
    /// Not an end: an attempt failed and another is to come.
    Retried,
    /// Not an end: taken over from a process that is gone.
    TakenOver,
}

impl Outcome {
    /// All of them, in order.
    pub const ALL: [Self; 8] = [
        Self::Delivered,
        Self::Refused,
        Self::Rejected,
        Self::Gone,
        Self::Exhausted,
        Self::Expired,
        Self::Retried,
        Self::TakenOver,
    ];
    /// How many of them are ends.
    pub const ENDS: usize = 6;

    /// Whether it is the end of a callback.
    #[must_use]
    pub fn is_end(self) -> bool {
        (self as usize) < Self::ENDS
    }

    /// The name in logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Refused => "refused",
            Self::Rejected => "rejected",
            Self::Gone => "gone",
            Self::Exhausted => "exhausted",
            Self::Expired => "expired",
            Self::Retried => "retried",
            Self::TakenOver => "taken over",
        }
    }

    /// Counts it.
    pub fn count(self, counter: &Counter, times: usize) {
        // Relaxed: a figure.
        counter.callback_cells().front().figures[self as usize]
            .fetch_add(times as u64, Ordering::Relaxed);
    }

    /// All figures, since the segment was made, of all processes.
    #[must_use]
    pub fn all(counter: &Counter) -> [u64; Self::ALL.len()] {
        const { assert!(Outcome::ALL.len() + Cause::ALL.len() <= CALLBACK_FIGURES) };
        let figures = &counter.callback_cells().front().figures;
        std::array::from_fn(|index| figures[index].load(Ordering::Relaxed))
    }
}

/// Counts an attempt that failed. The causes follow on the figures.
pub fn count_cause(cause: Cause, counter: &Counter) {
    let index = Outcome::ALL.len() + cause as usize;
    // Relaxed: a figure.
    counter.callback_cells().front().figures[index].fetch_add(1, Ordering::Relaxed);
}

/// Attempts that failed since the segment was made, of all processes, by cause.
#[must_use]
pub fn causes(counter: &Counter) -> [u64; Cause::ALL.len()] {
    let figures = &counter.callback_cells().front().figures[Outcome::ALL.len()..];
    std::array::from_fn(|index| figures[index].load(Ordering::Relaxed))
}

/// What came of one attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Scheme, host, port and path: the rest of a URL may hold secrets.
    pub endpoint: String,
    /// What became of the callback.
    pub outcome: Outcome,
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// What was wrong, in words.
    pub reason: &'static str,
    /// Which attempt it was.
    pub attempt: u64,
    /// How long it took.
    pub took: Duration,
    /// The window that it reports on.
    pub window_start: u64,
    /// The count that it reports.
    pub count: Option<u64>,
    /// The header `webhook-id`.
    pub id: String,
    /// Whether it is one of those to be logged.
    pub logged: bool,
}

/// Which attempts are reported one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogMode {
    /// All of them.
    All,
    /// Those that failed.
    Failures,
    /// None.
    Summary,
}

/// Reports that nobody has fetched; a fetcher that is late loses some of them, not memory.
const KEPT: usize = 1_000;

#[derive(Debug)]
struct Waiting {
    reports: VecDeque<Report>,
    second: Instant,
    /// Lines that may be logged this second.
    lines: u32,
    /// Callbacks that ended without success and may be noted this second, logged or not.
    failures: u32,
    left_out: [u64; Outcome::ALL.len()],
}

/// Collects reports: so many a second one by one, of the rest the number.
#[derive(Debug)]
pub struct Reports {
    lines: LogMode,
    per_second: u32,
    waiting: Mutex<Waiting>,
}

impl Reports {
    /// At most `per_second` reports a second.
    #[must_use]
    pub fn new(lines: LogMode, per_second: u32) -> Self {
        let waiting = Waiting {
            reports: VecDeque::new(),
            second: Instant::now(),
            lines: per_second,
            failures: per_second,
            left_out: Default::default(),
        };
        Self { lines, per_second, waiting: Mutex::new(waiting) }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a report, which is made only if it is told; `report` hears whether it is to be logged.
    pub fn put(&self, outcome: Outcome, report: impl FnOnce(bool) -> Report) {
        let mut waiting = self.waiting();
        let now = Instant::now();
        if now - waiting.second >= Duration::from_secs(1) {
            waiting.second = now;
            waiting.lines = self.per_second;
            waiting.failures = self.per_second;
        }
        let wanted = match self.lines {
            LogMode::All => true,
            LogMode::Failures => outcome != Outcome::Delivered,
            LogMode::Summary => false,
        };
        let has_failed = outcome.is_end() && outcome != Outcome::Delivered;
        let is_kept = waiting.reports.len() < KEPT;
        let logged = is_kept && wanted && waiting.lines > 0;
        let noted = is_kept && has_failed && waiting.failures > 0;
        waiting.lines -= u32::from(logged);
        waiting.failures -= u32::from(noted);
        waiting.left_out[outcome as usize] += u64::from(!logged);
        if logged || noted {
            waiting.reports.push_back(report(logged));
        }
    }

    /// The reports since the last call, and how many are not to be logged, by figure.
    #[must_use]
    pub fn drain(&self) -> (Vec<Report>, [u64; Outcome::ALL.len()]) {
        let mut waiting = self.waiting();
        (waiting.reports.drain(..).collect(), std::mem::take(&mut waiting.left_out))
    }
}

/// What of a URL may be told: no query, no fragment.
#[must_use]
pub fn redacted(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}
