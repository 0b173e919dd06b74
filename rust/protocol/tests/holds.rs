//! The protocol as it is, under each kind of fault: every run ends well.

use verve_protocol::checking::{holds, violates};
use verve_protocol::model::names::{COMMITTED, SEEN};
use verve_protocol::redis::Members;
use verve_protocol::scenario::{Faults, Scenario};

/// One host has an id of the other, which has one more.
const OVERLAPPING: &[Members] = &[0b01, 0b11];
/// No id is on two hosts, so the loss of any shows.
const APART: &[Members] = &[0b01, 0b10];
/// A host that knows of no id, beside one that does.
const ONE_IDLE: &[Members] = &[0b01, 0];
const THREE: &[Members] = &[0b01, 0b11, 0b10];

const NONE: Faults = Faults {
    unsent: 0,
    lost_replies: 0,
    deaths: 0,
    absences: 0,
    slow: 0,
    deposed: 0,
    flushes: 0,
    evictions: 0,
    state_losses: 0,
    shard_failovers: 0,
    state_failovers: 0,
    expiries: 0,
};

/// `scenario` with hosts that have yet to register.
fn from_registration(scenario: Scenario) -> Scenario {
    Scenario { from_registration: true, ..scenario }
}

/// `scenario` in which no host is late.
fn within_the_grace(scenario: Scenario) -> Scenario {
    Scenario { grace_may_end: false, ..scenario }
}

fn on_two_shards(scenario: Scenario) -> Scenario {
    Scenario { shards: 2, ..scenario }
}

fn releasing(scenario: Scenario) -> Scenario {
    Scenario { releasing: true, ..scenario }
}

#[test]
fn without_faults() {
    for ids in [OVERLAPPING, APART, ONE_IDLE, THREE] {
        holds(from_registration(Scenario::of(ids)), &[]);
        holds(releasing(on_two_shards(Scenario::of(ids))), &[]);
    }
}

#[test]
fn workers_die_and_replies_are_lost() {
    let faults = Faults { unsent: 2, lost_replies: 1, ..NONE };
    holds(Scenario::of(OVERLAPPING).with(faults), &[]);
    holds(from_registration(Scenario::of(APART).with(faults)), &[]);
    holds(within_the_grace(Scenario::of(THREE).with(faults)), &[]);
}

#[test]
fn publishers_are_slow() {
    let faults = Faults { unsent: 2, slow: 2, deposed: 1, ..NONE };
    holds(Scenario::of(OVERLAPPING).with(faults), &[]);
}

#[test]
fn leaders_die() {
    let faults = Faults { unsent: 1, deaths: 1, slow: 1, ..NONE };
    holds(Scenario::of(APART).with(faults), &[]);
    let faults = Faults { unsent: 1, deaths: 1, ..NONE };
    holds(from_registration(Scenario::of(OVERLAPPING).with(faults)), &[]);
}

#[test]
fn a_host_is_away_and_comes_back() {
    let faults = Faults { unsent: 2, deaths: 1, absences: 1, ..NONE };
    holds(releasing(Scenario::of(OVERLAPPING).with(faults)), &[]);
}

#[test]
fn a_set_or_its_names_are_evicted() {
    let faults = Faults { evictions: 1, ..NONE };
    holds(Scenario::of(OVERLAPPING).with(Faults { deaths: 1, ..faults }), &[]);
    holds(Scenario::of(OVERLAPPING).with(Faults { slow: 1, ..faults }), &[]);
    holds(from_registration(on_two_shards(Scenario::of(OVERLAPPING).with(faults))), &[]);
    holds(within_the_grace(Scenario::of(THREE).with(faults)), &[]);
}

#[test]
fn a_shard_fails_over() {
    let faults = Faults { shard_failovers: 1, ..NONE };
    holds(Scenario::of(ONE_IDLE).with(faults), &[]);
    holds(within_the_grace(Scenario::of(OVERLAPPING).with(faults)), &[]);
    holds(within_the_grace(on_two_shards(Scenario::of(OVERLAPPING).with(faults))), &[]);
    holds(within_the_grace(Scenario::of(&[0b1]).with(Faults { deaths: 1, ..faults })), &[]);
}

#[test]
fn the_state_fails_over() {
    // What was committed and lost before anybody saw it is made again, at first without the late.
    let faults = Faults { state_failovers: 1, ..NONE };
    holds(Scenario::of(ONE_IDLE).with(Faults { slow: 1, ..faults }), &[COMMITTED]);
    holds(Scenario::of(OVERLAPPING).with(faults), &[COMMITTED]);
}

#[test]
fn the_state_is_evicted() {
    let faults = Faults { state_losses: 1, ..NONE };
    let slow = Faults { slow: 1, deposed: 1, ..faults };
    holds(Scenario::of(APART).with(slow), &[COMMITTED]);
    holds(from_registration(Scenario::of(OVERLAPPING).with(faults)), &[COMMITTED]);
    let away = Faults { deaths: 1, absences: 1, ..faults };
    holds(Scenario::of(ONE_IDLE).with(away), &[COMMITTED, SEEN]);
}

#[test]
fn everything_is_flushed() {
    let faults = Faults { flushes: 1, ..NONE };
    holds(from_registration(Scenario::of(OVERLAPPING).with(faults)), &[COMMITTED]);
    holds(Scenario::of(OVERLAPPING).with(Faults { deaths: 1, ..faults }), &[COMMITTED]);
    holds(Scenario::of(OVERLAPPING).with(Faults { slow: 1, ..faults }), &[COMMITTED]);
    holds(Scenario::of(ONE_IDLE).with(Faults { evictions: 1, ..faults }), &[COMMITTED]);
    holds(within_the_grace(Scenario::of(THREE).with(faults)), &[COMMITTED]);
}

#[test]
fn everything_is_flushed_while_a_host_is_away() {
    let faults = Faults { flushes: 1, deaths: 1, absences: 1, ..NONE };
    holds(releasing(Scenario::of(APART).with(faults)), &[COMMITTED, SEEN]);
}

#[test]
fn the_window_expires() {
    let faults = Faults { expiries: 1, unsent: 1, ..NONE };
    holds(releasing(Scenario::of(OVERLAPPING).with(faults)), &[]);
}

#[test]
fn what_nobody_saw_may_be_made_again_with_another_count() {
    // The exception of `docs/internals/cluster.md`: a flush between a commit and the first host that
    // sees it.
    violates(Scenario::of(OVERLAPPING).with(Faults { flushes: 1, ..NONE }), COMMITTED);
}

#[test]
fn what_only_an_absent_host_saw_may_be_made_again_with_another_count() {
    // The only one that could put the record back is not there for a minute.
    let faults = Faults { flushes: 1, deaths: 1, absences: 1, ..NONE };
    violates(Scenario::of(APART).with(faults), SEEN);
}
