//! Callbacks of Verve: for each accepted request that names an endpoint, a POST to that endpoint of
//! `{"unique_request_count": n}`, where n is the number of distinct ids of the request's window.
//!
//! * [`cells`]: callbacks wait in cells of the segment, so that an answered request leads to at
//!   least one attempt, whichever process dies. [`cell`]: the states of a cell.
//! * [`egress_policy`]: the permitted addresses; [`resolver`]: looks names up for the connections.
//! * [`rate_limit`], [`concurrency`], [`circuit_breaker`]: no destination is flooded or delays
//!   others.
//! * [`transport`]: one attempt; [`retry`]: whether there is another; [`signature`]: Standard
//!   Webhooks.
//! * [`sender`]: the task that sends callbacks; [`counts`]: the counts that it sends.
//! * [`Callbacks`]: the service of one process.
//!
//! # Consistency
//! At least once: if a process dies between an answer and its note, another process sends the
//! callback again, with the same `webhook-id`. All attempts of a callback have the same body.

pub mod cell;
pub mod cells;
pub mod circuit_breaker;
pub mod concurrency;
pub mod counts;
pub mod destination;
mod diagnosis;
pub mod egress_policy;
pub mod failure;
pub mod rate_limit;
pub mod report;
pub mod resolver;
pub mod retry;
pub mod sender;
mod service;
pub mod signature;
pub mod transport;
mod tunnel;

pub use self::{
    diagnosis::{Diagnosis, diagnose},
    service::{Callbacks, Settings, check},
};
