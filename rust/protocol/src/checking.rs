//! Has stateright explore a scenario.

use stateright::{Checker, HasDiscoveries, Model};

use crate::model::{Action, names};
use crate::scenario::Scenario;

/// A property that does not hold, and how to get there.
#[derive(Debug)]
pub struct Violation {
    /// Its name, of [`names`].
    pub property: &'static str,
    /// The steps that lead there; no shorter run does.
    pub steps: Vec<Action>,
}

/// Explores `scenario` until one of `properties` is violated, or nothing is left.
pub fn violation_of(scenario: Scenario, properties: &[&'static str]) -> Option<Violation> {
    let any = HasDiscoveries::AnyOf(properties.iter().copied().collect());
    let checker = scenario.checker().finish_when(any).spawn_bfs().join();
    let mut discoveries = checker.discoveries();
    let (property, path) =
        properties.iter().find_map(|&property| Some((property, discoveries.remove(property)?)))?;
    Some(Violation { property, steps: path.into_actions() })
}

/// Panics if `scenario` violates a property that is not among `exceptions`.
pub fn holds(scenario: Scenario, exceptions: &[&'static str]) {
    let asked: Vec<_> =
        names::ALL.into_iter().filter(|property| !exceptions.contains(property)).collect();
    if let Some(violation) = violation_of(scenario, &asked) {
        panic!("{violation:?} in {scenario:?}");
    }
}

/// Panics if the checker misses that `scenario` violates `property`.
pub fn violates(scenario: Scenario, property: &'static str) {
    let found = violation_of(scenario, &[property]);
    assert!(found.is_some(), "not found: a violation of `{property}` in {scenario:?}");
}
