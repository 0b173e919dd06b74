//! What the sender works with, and how it tells what it did.

use std::sync::Arc;
use std::time::Duration;

use verve_core::Counter;

use crate::failure::Cause;
use crate::guard::Guard;
use crate::limits::{Circuits, Rate};
use crate::report::{Figure, Report, Reports, count_cause, told};
use crate::slab::{Content, Slab};
use crate::transport::{End, Transport};

/// What the sender works with.
#[derive(Debug)]
pub struct Means {
    /// The segment.
    pub counter: Arc<Counter>,
    /// Its cells.
    pub slab: Arc<Slab>,
    /// The wire.
    pub transport: Transport,
    /// Which destinations are listed.
    pub guard: Arc<Guard>,
    /// Who fails.
    pub circuits: Arc<Circuits>,
    /// What is told.
    pub reports: Arc<Reports>,
    /// The rate of each public destination.
    pub rate: Rate,
    /// Posts under way at once, to all destinations.
    pub most: usize,
    /// Older callbacks are not sent.
    pub oldest: Duration,
}

impl Means {
    /// The header `webhook-id`: a use of a cell of a segment, whoever sends it.
    #[must_use]
    pub fn id(&self, index: u32, content: &Content) -> String {
        let identity = self.counter.identity();
        format!("msg_{identity:016x}{index:04x}{:08x}", content.sequence)
    }

    /// Counts and reports what came of a callback or of an attempt.
    pub fn tell(
        &self,
        index: u32,
        content: &Content,
        figure: Figure,
        attempt: Option<(End, Duration)>,
        reason: &'static str,
    ) {
        figure.count(&self.counter, 1);
        if let Some(cause) = attempt.and_then(|(end, _)| cause(end)) {
            count_cause(cause, &self.counter);
        }
        self.reports.put(figure, |logged| Report {
            endpoint: told(&content.url).to_owned(),
            figure,
            status: match attempt {
                Some((End::Answered { status, .. }, _)) => Some(status),
                Some((End::Untunneled { status, .. }, _)) => status,
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
fn cause(end: End) -> Option<Cause> {
    match end {
        End::Answered { status: 200..=299, .. } => None,
        End::Answered { .. } => Some(Cause::Status),
        End::Failed(failure) | End::Untunneled { failure, .. } => Some(failure.cause()),
    }
}

/// What was wrong with an attempt, in words.
#[must_use]
pub fn reason(end: End) -> &'static str {
    match end {
        End::Answered { status: 200..=299, .. } => "",
        End::Answered { status: 300..=399, .. } => "redirects are not followed",
        End::Answered { .. } => "refused by the receiver",
        End::Failed(failure) | End::Untunneled { failure, .. } => failure.name(),
    }
}
