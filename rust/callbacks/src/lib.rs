//! Callbacks of Verve: each accepted request that names an endpoint causes a POST there of
//! `{"unique_request_count": n}`, n being the distinct ids of the request's window.
//!
//! * [`slab`]: callbacks wait in cells of the segment, so an answered request leads to at least one
//!   attempt, whichever process dies. [`word`] says how a cell changes hands.
//! * [`guard`]: where they may go; [`resolver`]: asked by the connections themselves.
//! * [`limits`]: rates, bounds and circuits, so that no destination is flooded and none harms another.
//! * [`transport`]: one attempt; [`retry`]: whether there is another; [`signature`]: Standard Webhooks.
//! * [`sender`]: the task that does it; [`Callbacks`]: all of it for one process.
//!
//! # Consistency
//! At least once: a process that dies between an answer and its note has the callback sent twice, with
//! the same `webhook-id`. The body is the same for all attempts of a callback.

pub mod destination;
pub mod failure;
mod front;
pub mod guard;
pub mod limits;
pub mod means;
mod probe;
pub mod report;
pub mod resolver;
pub mod retry;
pub mod sender;
pub mod signature;
pub mod slab;
pub mod transport;
mod tunnel;
pub mod word;

pub use self::{
    front::{Callbacks, Settings, check},
    probe::{Probe, probe},
};
