//! What the sender works with, and how it tells what it did.

use std::sync::Arc;
use std::time::Duration;

use verve_core::Counter;

use crate::cells::{Cells, Content};
use crate::circuit_breaker::CircuitBreakers;
use crate::egress_policy::EgressPolicy;
use crate::failure::Cause;
use crate::rate_limit::RateLimit;
use crate::report::{Outcome, Report, Reports, count_cause, redacted};
use crate::transport::{AttemptResult, Transport};

/// What the sender works with.
#[derive(Debug)]
pub struct Means {
    /// The segment.
    pub counter: Arc<Counter>,
    /// Its cells.
    pub cells: Arc<Cells>,
    /// The wire.
    pub transport: Transport,
    /// Which destinations are listed.
    pub policy: Arc<EgressPolicy>,
    /// Who fails.
    pub circuits: Arc<CircuitBreakers>,
    /// What is told.
    pub reports: Arc<Reports>,
    /// The rate of each public destination.
    pub rate: RateLimit,
    /// Posts under way at once, to all destinations.
    pub most: usize,
    /// Older callbacks are not sent.
    pub oldest: Duration,
}

impl Means {
    /// The header `webhook-id`: a use of a cell of a segment, whoever sends it.
    #[must_use]
    pub fn id(&self, index: u32, content: &Content) -> String {
        let identity = self.counter.callback_cells().identity();
        format!("msg_{identity:016x}{index:04x}{:08x}", content.sequence)
    }

    /// Counts and reports what came of a callback or of an attempt.
    pub fn tell(
        &self,
        index: u32,
        content: &Content,
        outcome: Outcome,
        attempt: Option<(AttemptResult, Duration)>,
        reason: &'static str,
    ) {
        outcome.count(&self.counter, 1);
        if let Some(cause) = attempt.and_then(|(end, _)| cause(end)) {
            count_cause(cause, &self.counter);
        }
        self.reports.put(outcome, |logged| Report {
            endpoint: redacted(&content.url).to_owned(),
            outcome,
            status: match attempt {
                Some((AttemptResult::Answered { status, .. }, _)) => Some(status),
                Some((AttemptResult::Untunneled { status, .. }, _)) => status,
                _ => None,
            },
            reason,
            attempt: content.attempts,
            took: attempt.map_or(Duration::ZERO, |(_, took)| took),
            window_start: content.window_start,
            count: content.count,
            id: self.id(index, content),
            logged,
        });
    }
}

/// Why an attempt was no success; `None` if it was one.
fn cause(end: AttemptResult) -> Option<Cause> {
    match end {
        AttemptResult::Answered { status: 200..=299, .. } => None,
        AttemptResult::Answered { .. } => Some(Cause::Status),
        AttemptResult::Failed(failure) | AttemptResult::Untunneled { failure, .. } => {
            Some(failure.cause())
        }
    }
}

/// What was wrong with an attempt, in words.
#[must_use]
pub fn reason(end: AttemptResult) -> &'static str {
    match end {
        AttemptResult::Answered { status: 200..=299, .. } => "",
        AttemptResult::Answered { status: 300..=399, .. } => "redirects are not followed",
        AttemptResult::Answered { .. } => "refused by the receiver",
        AttemptResult::Failed(failure) | AttemptResult::Untunneled { failure, .. } => {
            failure.name()
        }
    }
}
