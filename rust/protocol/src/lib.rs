//! How many hosts count as one: the protocol of `docs/cluster.md` as a model, for stateright to
//! explore. Nothing of the service uses this crate.
//!
//! A [`Scenario`](scenario::Scenario) says which hosts have which ids and how much may go wrong. From
//! there the checker takes every step that is possible, in every order, until nothing is left, and
//! looks at each state. `tests/holds.rs` has the scenarios; `tests/flaws.rs` leaves out one rule at a
//! time and wants the checker to miss it; `tests/reach.rs` sees that every step is taken somewhere, and
//! that no run goes on for ever.
//!
//! # What stands for what
//! * One window, two or three hosts, one or two ids each, one or two shards. A set is a word of bits,
//!   ids and markers; a script or a transaction is one step. A batch of a full send goes to all shards
//!   in one step: of a set matters only what was lost between its marker, its ids and the sum.
//! * There is no time. "The grace is over", "the token is 3 s old", "silent for 60 s" and "24 h are
//!   over" may come at any moment, within what the scenario allows. The two seconds of rule 9 end when
//!   each other host has renewed its line and has seen to what it noticed by that: a host that has no
//!   leader for so long is an [absence](scenario::Faults::absences).
//! * Epochs are counters, one a master. A failover puts a master back to what it was at any moment
//!   before: a replica falls behind, and takes over later.
//! * Of a worker is left that it sends an id, with or without a reply, or dies before. A leader forgets
//!   with its death all but what stands in the segment and the ledger.
//! * The clocks of hosts agree, a host's arena is right (loom looks at that), and no host is destroyed.
//!
//! # What holds
//! The properties are in [`model::names`]. A flush has the exceptions that `docs/cluster.md` names, and
//! `tests/holds.rs` shows each of them.

#![expect(clippy::must_use_candidate, reason = "the callers are the model and its tests")]

pub mod checking;
pub mod closing;
pub mod cluster;
pub mod flaw;
pub mod host;
pub mod model;
pub mod publishing;
pub mod redis;
pub mod scenario;
