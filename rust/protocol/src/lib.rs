//! How many hosts count as one: the protocol of `docs/internals/cluster.md` as a model for
//! stateright. The service does not use this crate.
//!
//! A [`Scenario`](scenario::Scenario) states which hosts have which ids, and how much may go
//! wrong. From there the checker takes every possible step in every order, until no step is left,
//! and checks the properties in each state. `tests/holds.rs` has the scenarios. `tests/flaws.rs`
//! leaves out one rule at a time and expects a violation. `tests/reach.rs` checks that every step
//! is taken in some scenario, and that every run ends.
//!
//! # What the model represents
//! * One window, two or three hosts, one or two ids each, one or two shards. A set is a word of
//!   bits, one per id and marker. A script or a transaction is one step. A batch of a full send
//!   goes to all shards in one step: only losses between a set's marker, its ids and the count
//!   matter.
//! * There is no time. "The grace is over", "the token is 3 s old", "silent for 60 s" and "24 h
//!   are over" may happen at any moment, within the limits of the scenario. The two seconds of
//!   rule 9 end when each other host has renewed its line and has recovered from the losses that
//!   it noticed by that: a host that has no leader for so long is an
//!   [absence](scenario::Faults::absences).
//! * Epochs are counters, one per master. A failover puts a master back to any earlier state: a
//!   replica falls behind, and takes over later.
//! * A worker either sends an id, with or without a reply, or dies before. A leader that dies
//!   forgets everything outside the segment and the ledger.
//! * The clocks of the hosts agree, a host's arena is right (loom checks that), and no host is
//!   destroyed.
//!
//! # What holds
//! The properties are in [`model::names`]. A flush has the exceptions that
//! `docs/internals/cluster.md` names; `tests/holds.rs` shows each of them.

#![expect(clippy::must_use_candidate, reason = "the callers are the model and its tests")]

pub mod checking;
pub mod cluster;
pub mod committing;
pub mod completion;
pub mod flaw;
pub mod host;
pub mod model;
pub mod redis;
pub mod scenario;
