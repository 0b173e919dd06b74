//! Answers to accepts and batches, the same through the fast path, RSGI and ASGI.

use std::fmt::Write;

use crate::counter::handle::Counter;
use crate::counter::insertion::{Placement, Share};
use crate::error::Error;
use crate::request::batch::{self, BatchFormat};
use crate::request::query::{self, Accept};
use crate::request::rejection::Rejection;
use crate::segment::layout::REJECTIONS;
use crate::shard::{Group, IdsByShard};
use crate::sync::Ordering;

/// The answer to a `GET /api/verve/accept`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 200 `ok`.
    Ok,
    /// 200 `ok`, with the placement of the id, for which the request asked.
    Verdict(Placement),
    /// `failed`: nothing was counted.
    Failed(Rejection),
}

/// An id and its window, for a caller that waits until a store has the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Start of the window that the id is counted in, seconds since the epoch.
    pub window_start: u64,
    /// The id.
    pub id: i64,
}

/// The answer to a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchAnswer {
    /// The reason of a failure; `None` for status 200.
    pub rejection: Option<Rejection>,
    /// The index of the rejected id, or the number of ids recorded before the table was full.
    pub position: Option<usize>,
    /// The body: JSON, or `failed`.
    pub body: String,
}

impl From<&Error> for Rejection {
    fn from(error: &Error) -> Self {
        match error {
            Error::Full => Self::TableFull,
            Error::Space(_) | Error::Memory => Self::NoSpace,
            Error::NoArena => Self::NoArena,
            Error::Setting { .. } | Error::Segment { .. } | Error::Window { .. } => {
                Self::SegmentUnusable
            }
        }
    }
}

/// Answers to HTTP requests; see [`Counter::http`].
#[derive(Clone, Copy, Debug)]
pub struct Http<'a> {
    counter: &'a Counter,
}

impl Counter {
    /// Answers to HTTP requests, and the count of rejected ones.
    #[inline]
    #[must_use]
    pub fn http(&self) -> Http<'_> {
        Http { counter: self }
    }
}

impl Http<'_> {
    /// Answers the query of a `GET /api/verve/accept`, and counts a rejection.
    #[inline]
    #[must_use]
    pub fn accept(self, query: &[u8]) -> Answer {
        self.accept_placed(query).0
    }

    /// As [`Http::accept`], with the id and its window unless it was rejected.
    #[inline]
    #[must_use]
    pub fn accept_placed(self, query: &[u8]) -> (Answer, Option<Placed>) {
        self.answered(self.try_accept(query))
    }

    #[inline]
    fn try_accept(self, query: &[u8]) -> Result<(Accept, Placement), Rejection> {
        let accept = query::parse_accept(query)?;
        if accept.endpoint.is_some() {
            return Err(Rejection::CallbacksUnavailable);
        }
        let placement = self.counter.add(accept.id).map_err(|error| Rejection::from(&error))?;
        Ok((accept, placement))
    }

    /// The answer for the outcome of an accept. Counts a rejection.
    #[inline]
    #[must_use]
    pub fn answered(
        self,
        outcome: Result<(Accept, Placement), Rejection>,
    ) -> (Answer, Option<Placed>) {
        match outcome {
            Ok((accept, placement)) => {
                let answer = if accept.verdict { Answer::Verdict(placement) } else { Answer::Ok };
                let window_start = placement.window_start;
                (answer, Some(Placed { window_start, id: accept.id }))
            }
            Err(rejection) => {
                self.reject(rejection);
                (Answer::Failed(rejection), None)
            }
        }
    }

    /// Answers a batch: all ids are read before the first is counted.
    #[must_use]
    pub fn accept_batch(self, format: BatchFormat, body: &[u8]) -> BatchAnswer {
        self.answer_batch(format, body, |_, _| ()).0
    }

    /// As [`Http::accept_batch`], with the recorded ids, duplicates included, by window and shard.
    #[must_use]
    pub fn accept_batch_placed(
        self,
        format: BatchFormat,
        body: &[u8],
    ) -> (BatchAnswer, Vec<Group>) {
        self.answer_batch(format, body, |ids, shares| {
            let mut rest = ids;
            let mut groups = Vec::new();
            for share in shares {
                let (its, after) = rest.split_at(share.recorded);
                let mut sorted = IdsByShard::new(share.window_start);
                for &id in its {
                    sorted.push(id);
                }
                groups.extend(sorted.groups());
                rest = after;
            }
            groups
        })
    }

    fn answer_batch<T: Default>(
        self,
        format: BatchFormat,
        body: &[u8],
        recorded: impl FnOnce(&[i64], &[Share]) -> T,
    ) -> (BatchAnswer, T) {
        let failed = |rejection: Rejection, position| {
            self.reject(rejection);
            let body = "failed".to_owned();
            BatchAnswer { rejection: Some(rejection), position: Some(position), body }
        };
        let ids = match batch::parse(format, body) {
            Ok(ids) => ids,
            Err(error) => return (failed(error.reason, error.position), T::default()),
        };
        let batch = match self.counter.add_many(&ids) {
            Ok(batch) => batch,
            Err(error) => return (failed(Rejection::from(&error), 0), T::default()),
        };
        let answer = match batch.stopped {
            Some(error) => failed(Rejection::from(&error), batch.recorded),
            None => BatchAnswer {
                rejection: None,
                position: None,
                body: batch_body(batch.recorded, &batch.shares),
            },
        };
        (answer, recorded(&ids, &batch.shares))
    }

    /// Counts a rejected request.
    pub fn reject(self, rejection: Rejection) {
        if let Ok(participant) = self.counter.participant() {
            self.counter.front().participants[participant.slot].rejections[rejection as usize]
                .fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Rejected requests by reason, since the segment was made.
    #[must_use]
    pub fn rejections(self) -> [u64; REJECTIONS] {
        let mut sums = [0; REJECTIONS];
        for slot in &self.counter.front().participants {
            for (sum, count) in sums.iter_mut().zip(&slot.rejections) {
                *sum += count.load(Ordering::Relaxed);
            }
        }
        sums
    }
}

fn batch_body(accepted: usize, shares: &[Share]) -> String {
    let new: u64 = shares.iter().map(|share| share.new).sum();
    let mut body = format!("{{\"accepted\": {accepted}, \"new\": {new}, \"windows\": [");
    for (index, share) in shares.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        let Share { window_start, new, .. } = share;
        let window_start = rfc3339(*window_start);
        // Writing to a string cannot fail.
        let _ = write!(body, "{comma}{{\"window_start\": \"{window_start}\", \"new\": {new}}}");
    }
    body.push_str("]}");
    body
}

/// A time in UTC, such as `2026-11-22T21:58:00Z`, from seconds since the epoch.
fn rfc3339(seconds: u64) -> String {
    let (day, second) = (seconds / 86_400, seconds % 86_400);
    // Howard Hinnant's `civil_from_days`: eras of 400 years, years that begin in March.
    let since_era_0 = day + 719_468;
    let (era, day) = (since_era_0 / 146_097, since_era_0 % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = 400 * era + year + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::rfc3339;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, shown) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_795_384_680, "2026-11-22T21:58:00Z"),
            (1_798_761_599, "2026-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(seconds), shown);
        }
    }
}
