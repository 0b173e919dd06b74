"""Each loss that `docs/internals/cluster.md` lists as possible, and how far it goes."""

from __future__ import annotations

import json
from collections import defaultdict

import pytest

from .history import Fault
from .scenario import Outcome, simulate

pytestmark = pytest.mark.timeout(300)

CALM = 20.0
"""Seconds after which what is still missing stays so."""
EPOCH = 1_800_000_000


def missing(outcome: Outcome) -> dict[int, int]:
    """By window: how many acknowledged ids no host has in its last count."""
    accepted: defaultdict[int, set[int]] = defaultdict(set)
    stored: defaultdict[int, int] = defaultdict(int)
    for fact in map(json.loads, outcome.history):
        if fact["kind"] == "accepted":
            accepted[fact["window"]].add(fact["id"])
        elif fact["kind"] == "stored":
            stored[fact["window"]] = max(stored[fact["window"]], fact["count"])
    lacks = {window - EPOCH: len(ids) - stored[window] for window, ids in accepted.items()}
    return {window: lost for window, lost in lacks.items() if lost}


def test_ids_that_went_to_an_old_master_unnoticed() -> None:
    # Between two heartbeats, which come each half second.
    unnoticed = [
        Fault(at=10.1 + 0.5 * number, kind="old master", seconds=0.3, host=0) for number in range(3)
    ]
    failover = Fault(at=5.0, kind="redis failover", seconds=3.0)
    assert missing(simulate(0, [failover, *unnoticed], CALM)).keys() == {10}


def test_ids_of_a_destroyed_host_that_redis_lacks() -> None:
    faults = [
        Fault(at=10.2, kind="partition", seconds=2.0, host=1),
        Fault(at=11.6, kind="host destroyed", seconds=3.0, host=1),
    ]
    assert missing(simulate(0, faults, CALM)).keys() == {10}


def test_ids_of_a_destroyed_host_that_redis_lost() -> None:
    faults = [
        Fault(at=11.48, kind="redis flush"),
        Fault(at=11.5, kind="host destroyed", seconds=3.0, host=1),
    ]
    for seed in range(4):
        lost = missing(simulate(seed, faults, CALM))
        assert lost.keys() <= {10}
        if lost:
            return
    pytest.fail("no seed shows the loss")


def test_a_killed_host_takes_nothing_with_it() -> None:
    faults = [
        Fault(at=11.48, kind="redis flush"),
        Fault(at=11.5, kind="host killed", seconds=3.0, host=1),
    ]
    for seed in range(2):
        assert missing(simulate(seed, faults)) == {}


def test_ids_of_a_host_that_accepts_before_it_has_joined() -> None:
    faults = [
        Fault(at=24.323, kind="host stopped", seconds=2.003, host=0),
        Fault(at=25.034, kind="slow network", seconds=13.248, host=0, amount=0.934),
    ]
    check_complete_too_early(simulate(287, faults), EPOCH + 28)


def check_complete_too_early(outcome: Outcome, window: int) -> None:
    """A window is called complete first with ids missing, and has all in the end."""
    assert not outcome.problems
    assert missing(outcome) == {}
    facts = [fact for fact in map(json.loads, outcome.history) if fact.get("window") == window]
    ids = {fact["id"] for fact in facts if fact["kind"] == "accepted"}
    first = next(fact for fact in facts if fact["kind"] == "sent")
    assert (first["degraded"], first["count"] < len(ids)) == (False, True)


def test_ids_of_a_host_that_has_stopped_before_redis_lost_the_window() -> None:
    faults = [
        *(Fault(at=15.854, kind="host stopped", seconds=10.752, host=host) for host in (0, 1)),
        Fault(at=24.244, kind="host stopped", seconds=0.259, host=1),
        Fault(at=25.037, kind="redis eviction", seconds=3.0, host=0, amount=0.683),
    ]
    check_complete_too_early(simulate(1_681, faults), EPOCH + 14)


@pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])
def test_a_host_that_no_leader_saw_is_known_from_the_status_file(*, again: bool) -> None:
    faults = [
        Fault(at=7.1, kind="host killed", seconds=9.0, host=1),
        Fault(at=7.12, kind="redis flush"),
        Fault(at=7.13, kind="host killed", seconds=0.02, host=0),
        *([Fault(at=14.1, kind="redis flush")] if again else []),
    ]
    assert not simulate(0, faults, CALM).problems
