//! Each rule that the proof needs, left out: the checker must miss it.

use verve_protocol::checking::violates;
use verve_protocol::flaw::Flaw;
use verve_protocol::model::names::{IN_THE_END, KEPT, NONE_LOST, NONE_TWICE, SEEN};
use verve_protocol::redis::Members;
use verve_protocol::scenario::{Faults, Scenario};

const OVERLAPPING: &[Members] = &[0b01, 0b11];
const ONE_IDLE: &[Members] = &[0b01, 0];

/// Two hosts that are ready, and these faults.
fn ready(faults: Faults) -> Scenario {
    Scenario::of(OVERLAPPING).with(faults)
}

/// Two hosts that have yet to register.
fn starting(faults: Faults) -> Scenario {
    Scenario { from_registration: true, ..ready(faults) }
}

/// A flaw must show as a violation of a property in the scenario that fits it.
fn shows(flaw: Flaw, property: &'static str, scenario: Scenario) {
    violates(scenario.flawed(flaw), property);
}

#[test]
fn an_add_between_sum_and_mark_must_not_be_certified() {
    let faults = Faults { unsent: 1, ..Faults::default() };
    shows(Flaw::CompletionsAreNoChanges, IN_THE_END, ready(faults));
    shows(Flaw::CommitNotesTheChangesOfItsOwnTime, IN_THE_END, ready(faults));
    shows(Flaw::CompletenessIsJudgedAtCommit, NONE_LOST, ready(faults));
}

#[test]
fn a_slow_publisher_must_not_commit() {
    let faults = Faults { unsent: 1, slow: 1, ..Faults::default() };
    shows(Flaw::CommitsUnchecked, SEEN, ready(faults));
}

#[test]
fn nothing_may_be_added_after_expiry() {
    let faults = Faults { expiries: 1, ..Faults::default() };
    shows(Flaw::AddsAfterExpiry, SEEN, ready(faults));
}

#[test]
fn only_the_leader_that_placed_a_marker_may_trust_it() {
    let faults = Faults { deaths: 1, shard_failovers: 1, ..Faults::default() };
    shows(Flaw::TrustsAnothersMarker, NONE_LOST, Scenario::of(&[0b1]).with(faults));
}

#[test]
fn only_a_marker_of_before_the_start_may_be_trusted() {
    let faults = Faults { evictions: 1, ..Faults::default() };
    shows(Flaw::TrustsALateMarker, NONE_LOST, starting(faults));
}

#[test]
fn epochs_must_be_compared_after_the_sum() {
    let faults = Faults { shard_failovers: 1, ..Faults::default() };
    shows(Flaw::EpochsAreNotCompared, NONE_LOST, ready(faults));
}

#[test]
fn a_marker_must_go_in_before_the_ids_of_a_full_send() {
    let faults = Faults { evictions: 1, unsent: 1, ..Faults::default() };
    shows(Flaw::MarkerGoesInBehindTheIds, NONE_LOST, ready(faults));
}

#[test]
fn a_marker_must_not_come_up_during_a_sum() {
    let faults = Faults { evictions: 1, unsent: 1, ..Faults::default() };
    shows(Flaw::MarkersMayComeUpDuringTheSum, NONE_TWICE, ready(faults));
}

#[test]
fn the_names_of_markers_must_stand_beside_the_set() {
    // The state is lost, and the host that knows its marker is away.
    let faults = Faults { state_losses: 1, deaths: 1, absences: 1, ..Faults::default() };
    shows(Flaw::NamesAreInTheStateOnly, NONE_TWICE, ready(faults));
}

#[test]
fn a_token_must_name_the_attempt() {
    let faults = Faults { unsent: 1, deposed: 1, ..Faults::default() };
    shows(Flaw::TokenNamesTheHost, IN_THE_END, ready(faults));
}

#[test]
fn scripts_must_find_the_registration() {
    let faults = Faults { flushes: 1, ..Faults::default() };
    shows(Flaw::ScriptsTakeAnyState, NONE_LOST, ready(faults));
}

#[test]
fn scripts_must_run_on_the_master_that_the_host_knows() {
    let faults = Faults { unsent: 1, slow: 1, state_failovers: 1, ..Faults::default() };
    shows(Flaw::ScriptsTakeAnyMaster, SEEN, Scenario::of(ONE_IDLE).with(faults));
}

#[test]
fn a_new_leader_must_take_the_line_of_another_for_a_loss() {
    let faults = Faults { flushes: 1, deaths: 1, ..Faults::default() };
    shows(Flaw::LineNamesNoTerm, NONE_LOST, ready(faults));
}

#[test]
fn a_leader_must_watch_its_registrations() {
    let faults = Faults { state_losses: 1, ..Faults::default() };
    shows(Flaw::RegistrationIsNotWatched, IN_THE_END, ready(faults));
}

#[test]
fn a_record_that_is_put_back_must_ask_for_a_revision() {
    let faults = Faults { flushes: 1, evictions: 1, ..Faults::default() };
    shows(Flaw::RestoreAsksForNoRevision, IN_THE_END, ready(faults));
}

#[test]
fn a_marker_must_not_be_placed_again_after_a_loss() {
    let faults = Faults { flushes: 1, ..Faults::default() };
    shows(Flaw::MarkerIsPlacedAgain, NONE_LOST, ready(faults));
}

#[test]
fn leaders_must_wait_after_a_loss() {
    let faults = Faults { flushes: 1, ..Faults::default() };
    shows(Flaw::NoPause, NONE_LOST, ready(faults));
}

#[test]
fn leaders_must_wait_after_their_start() {
    let faults = Faults { flushes: 1, ..Faults::default() };
    shows(Flaw::StartsWithoutPause, NONE_LOST, starting(faults));
}

#[test]
fn a_late_host_must_close_before_it_gives_its_ids_up() {
    let faults = Faults { unsent: 1, deaths: 1, absences: 1, ..Faults::default() };
    let scenario = Scenario { releasing: true, ..ready(faults) };
    shows(Flaw::ReleasesBeforeCompletion, KEPT, scenario);
}
