//! Reports of callbacks: figures in the segment, over all processes, and a limited number of
//! reports of single attempts.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use verve_core::Counter;
use verve_core::segment::layout::CALLBACK_FIGURES;

use crate::cells::{Cells, Content};
use crate::failure::Cause;
use crate::transport::AttemptResult;

/// The outcome of a callback or of an attempt. The first [`Outcome::ENDS`] outcomes end a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Outcome {
    /// Answered with 2xx.
    Delivered,
    /// The egress policy refused its address.
    Refused,
    /// Answered with 3xx, or with a 4xx that a retry would not change.
    Rejected,
    /// Answered with 410.
    Gone,
    /// Every attempt failed.
    Exhausted,
    /// Too old, or its window is no longer known.
    Expired,
    /// Not an end: an attempt failed, and a retry follows.
    Retried,
    /// Not an end: taken over from a dead process.
    TakenOver,
}

impl Outcome {
    /// Every outcome, in order.
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
    /// Number of outcomes that end a callback.
    pub const ENDS: usize = 6;

    /// Whether the outcome ends a callback.
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

    /// Increments the figure of the outcome.
    pub fn count(self, counter: &Counter, times: usize) {
        // Relaxed: a figure.
        counter.callback_cells().front().figures[self as usize]
            .fetch_add(times as u64, Ordering::Relaxed);
    }

    /// The figures of every outcome since the segment was created, over all processes.
    #[must_use]
    pub fn all(counter: &Counter) -> [u64; Self::ALL.len()] {
        const { assert!(Outcome::ALL.len() + Cause::ALL.len() <= CALLBACK_FIGURES) };
        let figures = &counter.callback_cells().front().figures;
        std::array::from_fn(|index| figures[index].load(Ordering::Relaxed))
    }
}

/// Adds a failed attempt. The figures of the causes follow those of the outcomes.
fn count_cause(cause: Cause, counter: &Counter) {
    let index = Outcome::ALL.len() + cause as usize;
    // Relaxed: a figure.
    counter.callback_cells().front().figures[index].fetch_add(1, Ordering::Relaxed);
}

/// Failed attempts by cause since the segment was created, over all processes.
#[must_use]
pub fn causes(counter: &Counter) -> [u64; Cause::ALL.len()] {
    let figures = &counter.callback_cells().front().figures[Outcome::ALL.len()..];
    std::array::from_fn(|index| figures[index].load(Ordering::Relaxed))
}

/// The end of an attempt, and how long it took.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// The result of the attempt.
    pub result: AttemptResult,
    /// Time from the begin of the attempt to its result.
    pub elapsed: Duration,
}

/// The report of one attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Scheme, host, port and path: the rest of a URL may hold secrets.
    pub endpoint: String,
    /// The outcome.
    pub outcome: Outcome,
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// The reason of a failure; empty after a success.
    pub reason: &'static str,
    /// The number of the attempt.
    pub attempt: u64,
    /// How long the attempt took.
    pub elapsed: Duration,
    /// Start of the callback's window.
    pub window_start: u64,
    /// The reported count.
    pub count: Option<u64>,
    /// The header `webhook-id`.
    pub id: String,
    /// Whether the log has a line for the report.
    pub logged: bool,
}

/// The attempts that are reported one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogMode {
    /// All.
    All,
    /// Failed ones.
    Failures,
    /// None.
    Summary,
}

/// Reports that wait to be fetched; if the fetcher is late, further reports are lost.
const KEPT: usize = 1_000;

#[derive(Debug)]
struct Pending {
    reports: VecDeque<Report>,
    second: Instant,
    /// Log lines that are left for this second.
    lines: u32,
    /// Failed callbacks that may be kept this second, logged or not.
    failures: u32,
    omitted: [u64; Outcome::ALL.len()],
}

/// Counts the outcomes of a process, and collects a limited number of reports per second.
#[derive(Debug)]
pub struct Reports {
    counter: Arc<Counter>,
    mode: LogMode,
    per_second: u32,
    pending: Mutex<Pending>,
}

impl Reports {
    /// At most `per_second` reports per second.
    #[must_use]
    pub fn new(counter: Arc<Counter>, mode: LogMode, per_second: u32) -> Self {
        let pending = Pending {
            reports: VecDeque::new(),
            second: Instant::now(),
            lines: per_second,
            failures: per_second,
            omitted: Default::default(),
        };
        Self { counter, mode, per_second, pending: Mutex::new(pending) }
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts and reports the outcome of a callback, or of one attempt at it.
    pub fn record(
        &self,
        index: u32,
        content: &Content,
        outcome: Outcome,
        attempt: Option<Attempt>,
        reason: &'static str,
    ) {
        outcome.count(&self.counter, 1);
        if let Some(cause) = attempt.and_then(|attempt| attempt.result.cause()) {
            count_cause(cause, &self.counter);
        }
        self.put(outcome, |logged| Report {
            endpoint: redacted(&content.url).to_owned(),
            outcome,
            status: attempt.and_then(|attempt| attempt.result.status()),
            reason,
            attempt: content.attempts,
            elapsed: attempt.map_or(Duration::ZERO, |attempt| attempt.elapsed),
            window_start: content.window_start,
            count: content.count,
            id: Cells::webhook_id(&self.counter, index, content),
            logged,
        });
    }

    /// Keeps a report if the limits permit; `report` gets true if it will be logged.
    fn put(&self, outcome: Outcome, report: impl FnOnce(bool) -> Report) {
        let mut pending = self.pending();
        let now = Instant::now();
        if now - pending.second >= Duration::from_secs(1) {
            pending.second = now;
            pending.lines = self.per_second;
            pending.failures = self.per_second;
        }
        let wanted = match self.mode {
            LogMode::All => true,
            LogMode::Failures => outcome != Outcome::Delivered,
            LogMode::Summary => false,
        };
        let has_failed = outcome.is_end() && outcome != Outcome::Delivered;
        let has_room = pending.reports.len() < KEPT;
        let logged = has_room && wanted && pending.lines > 0;
        let noted = has_room && has_failed && pending.failures > 0;
        pending.lines -= u32::from(logged);
        pending.failures -= u32::from(noted);
        pending.omitted[outcome as usize] += u64::from(!logged);
        if logged || noted {
            pending.reports.push_back(report(logged));
        }
    }

    /// Takes the reports since the last call, and the number of unlogged attempts by outcome.
    #[must_use]
    pub fn drain(&self) -> (Vec<Report>, [u64; Outcome::ALL.len()]) {
        let mut pending = self.pending();
        (pending.reports.drain(..).collect(), std::mem::take(&mut pending.omitted))
    }
}

/// A URL without query and fragment.
fn redacted(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}
