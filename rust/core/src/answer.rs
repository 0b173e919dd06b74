//! What an accept is answered: the same through the fast path, RSGI and ASGI.

use std::fmt::Write;

use crate::adding::{Placement, Share};
use crate::batch::{self, Kind};
use crate::counter::Counter;
use crate::error::Error;
use crate::query;
use crate::refusal::Refusal;

/// The answer to a `GET /api/verve/accept`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 200 `ok`.
    Ok,
    /// 200 `ok`, and the caller wants to know what became of the id.
    Verdict(Placement),
    /// `failed`: nothing was counted.
    Failed(Refusal),
}

/// The answer to a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchAnswer {
    /// Why it failed; `None`: 200.
    pub refusal: Option<Refusal>,
    /// Where the refused id stands, or how many were recorded before the table was full.
    pub position: Option<usize>,
    /// The body: JSON, or `failed`.
    pub body: String,
}

impl From<&Error> for Refusal {
    fn from(error: &Error) -> Self {
        match error {
            Error::Full => Self::TableFull,
            Error::Space => Self::NoSpace,
            Error::NoArena => Self::NoArena,
            Error::Setting { .. } | Error::Segment { .. } | Error::Window { .. } => {
                Self::SegmentUnusable
            }
        }
    }
}

impl Counter {
    /// Answers the query of a `GET /api/verve/accept`, and counts the refusal if it is one.
    #[must_use]
    pub fn accept(&self, query: &[u8]) -> Answer {
        self.try_accept(query).unwrap_or_else(|refusal| {
            self.refuse(refusal);
            Answer::Failed(refusal)
        })
    }

    #[inline]
    fn try_accept(&self, query: &[u8]) -> Result<Answer, Refusal> {
        let accept = query::parse_accept(query)?;
        if accept.endpoint.is_some() {
            return Err(Refusal::CallbacksUnavailable);
        }
        let placement = self.add(accept.id).map_err(|error| Refusal::from(&error))?;
        Ok(if accept.verdict { Answer::Verdict(placement) } else { Answer::Ok })
    }

    /// Answers a batch: all ids are read before the first is counted.
    #[must_use]
    pub fn accept_batch(&self, kind: Kind, body: &[u8]) -> BatchAnswer {
        let failed = |refusal: Refusal, position| {
            self.refuse(refusal);
            let body = "failed".to_owned();
            BatchAnswer { refusal: Some(refusal), position: Some(position), body }
        };
        let ids = match batch::parse(kind, body) {
            Ok(ids) => ids,
            Err(error) => return failed(error.reason, error.position),
        };
        match self.add_many(&ids) {
            Ok(batch) => match batch.stopped {
                Some(error) => failed(Refusal::from(&error), batch.recorded),
                None => BatchAnswer {
                    refusal: None,
                    position: None,
                    body: batch_body(batch.recorded, &batch.shares),
                },
            },
            Err(error) => failed(Refusal::from(&error), 0),
        }
    }
}

fn batch_body(accepted: usize, shares: &[Share]) -> String {
    let new: u64 = shares.iter().map(|share| share.new).sum();
    let mut body = format!("{{\"accepted\": {accepted}, \"new\": {new}, \"windows\": [");
    for (index, share) in shares.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        let Share { window_start, new } = share;
        // Writing to a string cannot fail.
        let _ = write!(body, "{comma}{{\"window_start\": {window_start}, \"new\": {new}}}");
    }
    body.push_str("]}");
    body
}
