//! The properties rest on this: every step is taken in some scenario, and every run ends.

use std::collections::{BTreeSet, HashMap};

use stateright::Model;
use verve_protocol::cluster::Cluster;
use verve_protocol::model::Action;
use verve_protocol::scenario::{Faults, Scenario};

/// Explores all of `scenario`, depth first. Adds the names of the steps that are taken, and
/// panics if a run comes back to where it was: then it could go on for ever.
fn explore(scenario: Scenario, taken: &mut BTreeSet<String>) {
    fn steps(scenario: &Scenario, cluster: &Cluster) -> Vec<Action> {
        let mut actions = Vec::new();
        scenario.actions(cluster, &mut actions);
        actions
    }

    let start = Cluster::new(&scenario);
    // Of each state whether it is on the way from the start to where the search is.
    let mut on_the_way = HashMap::from([(start.clone(), true)]);
    let mut way = vec![(steps(&scenario, &start), start)];
    while let Some((left, cluster)) = way.last_mut() {
        let Some(action) = left.pop() else {
            on_the_way.insert(cluster.clone(), false);
            way.pop();
            continue;
        };
        let Some(next) = scenario.next_state(cluster, action) else { continue };
        let name = format!("{action:?}");
        taken.insert(name.split('(').next().expect("a name").to_owned());
        match on_the_way.get(&next) {
            Some(true) => panic!("a run without an end: {action:?} leads back to {next:?}"),
            Some(false) => {}
            None => {
                on_the_way.insert(next.clone(), true);
                way.push((steps(&scenario, &next), next));
            }
        }
    }
}

#[test]
fn every_step_is_taken_and_every_run_ends() {
    let none = Faults::default();
    let ids: &[_] = &[0b01, 0b10];
    let releasing = Scenario { releasing: true, ..Scenario::of(ids) };
    let starting = Scenario { from_registration: true, ..Scenario::of(ids) };
    let idle = Scenario::of(&[0b1, 0]);
    let scenarios = [
        starting.with(Faults { unsent: 1, lost_replies: 1, ..none }),
        releasing.with(Faults { deaths: 1, absences: 1, ..none }),
        releasing.with(Faults { expiries: 1, ..none }),
        Scenario::of(ids).with(Faults { unsent: 1, slow: 1, deposed: 1, ..none }),
        Scenario::of(ids).with(Faults { flushes: 1, ..none }),
        Scenario::of(ids).with(Faults { evictions: 1, ..none }),
        idle.with(Faults { state_losses: 1, ..none }),
        Scenario { grace_may_end: false, ..idle }.with(Faults { state_failovers: 1, ..none }),
        Scenario::of(&[0b1]).with(Faults { shard_failovers: 1, deaths: 1, ..none }),
    ];
    let mut taken = BTreeSet::new();
    for scenario in scenarios {
        explore(scenario, &mut taken);
    }
    let all = "Begin Commit Complete Deliver Depose Die Elect End Evict EvictNames Expire FailOver \
               FallBehind Flush LoseState Place Recover Register Release Renew See Send \
               SendWithoutReply Start StayAway TakeOver";
    assert_eq!(taken, all.split(' ').map(str::to_owned).collect());
}
