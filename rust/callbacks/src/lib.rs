//! Callbacks of Verve: each accepted request that names an endpoint causes a POST there of
//! `{"unique_request_count": n}`, n being the distinct ids of the request's window.
//!
//! * [`cells`]: callbacks wait in cells of the segment, so an answered request leads to at least one
//!   attempt, whichever process dies. [`cell`] says how a cell changes hands.
//! * [`egress_policy`]: where they may go; [`resolver`]: asked by the connections themselves.
//! * [`rate_limit`], [`circuit_breaker`]: no destination is flooded, and none harms another.
//! * [`transport`]: one attempt; [`retry`]: whether there is another; [`signature`]: Standard Webhooks.
//! * [`sender`]: the task that does it; [`Callbacks`]: all of it for one process.
//!
//! # Consistency
//! At least once: a process that dies between an answer and its note has the callback sent twice, with
//! the same `webhook-id`. The body is the same for all attempts of a callback.

pub mod cell;
pub mod cells;
pub mod circuit_breaker;
pub mod destination;
mod diagnosis;
pub mod egress_policy;
pub mod failure;
pub mod means;
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
