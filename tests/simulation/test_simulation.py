"""Simulated clusters publish what was counted, whatever goes wrong; a broken rule is found.

`python -m tests.simulation` runs more seeds, and replays one.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.paths import ROOT

from .checker import check
from .flaws import FLAWS
from .history import Fault
from .scenario import shrink, simulate

if TYPE_CHECKING:
    from pathlib import Path

    from .flaws import Flaw

IS_FULL = os.environ.get("VERVE_FULL") == "1"
SECONDS = 300 if IS_FULL else 15
LANES = 4
SEEDS_OF_A_LANE = 1_000 if IS_FULL else 30
"""As many as a lane runs, or more."""
# Each showed a fault once: hosts left, evicted marks, a complete record lost, a leader killed, a
# commit right after a loss, a later revision while a window waited for its release, a record that
# was evicted.
SEEDS_THAT_FAILED = (100, 157, 172, 271, 315, 322, 331, 351, 908, 4018, 9007)
SEEDS_WITH_TWO_WORKERS = (4, 6, 28)
FLAWED_CALM = 20.0
"""Simulated seconds in which a flaw may still be made good."""


def _number() -> int:
    """A number for the seeds: that of the commit, or any, in full runs and without git."""
    if IS_FULL or shutil.which("git") is None or not (ROOT / ".git").exists():
        return random.randrange(1 << 40)
    command = ["git", "rev-parse", "HEAD"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return int(told.stdout[:10], 16)


@pytest.mark.parametrize("lane", range(LANES))
@pytest.mark.timeout(SECONDS + 600)
def test_clusters_publish_what_was_counted(lane: int) -> None:
    """Each commit has seeds of its own; full runs take others each time.

    So a run that fails does so again. `make simulate ARGS="--seed N"` replays one.
    """
    first = (_number() * LANES + lane) * SEEDS_OF_A_LANE
    command = [sys.executable, "-m", "tests.simulation", "--first", str(first)]
    ended = subprocess.run(
        [*command, "--minutes", str(SECONDS / 60)],
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": "0"},
        timeout=SECONDS + 500,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("seed", SEEDS_THAT_FAILED)
def test_a_seed_that_failed_holds(seed: int) -> None:
    assert not simulate(seed).problems


@pytest.mark.parametrize("flaw", FLAWS, ids=lambda flaw: f"rule-{flaw.rule}")
@pytest.mark.timeout(300)
def test_a_broken_rule_is_found(flaw: Flaw) -> None:
    for seed in flaw.seeds:
        faults = flaw.planned(seed)
        with flaw.plant():
            found = simulate(seed, faults, FLAWED_CALM).problems
        if found:
            assert not simulate(seed, faults).problems
            return
    pytest.fail(f"not found: {flaw.what}")


def test_a_host_that_goes_back_to_an_old_master_sends_its_ids_again() -> None:
    # The marker of the next window is at the new master, and the host trusts it when it is back.
    faults = [
        Fault(at=5.0, kind="redis failover", seconds=3.0, host=1),
        Fault(at=10.1, kind="old master", seconds=1.3, host=0),
        Fault(at=10.1, kind="old master", seconds=1.3, host=1),
    ]
    for seed in range(3):
        assert not simulate(seed, faults).problems, seed


def test_ids_that_come_when_the_leader_has_left_are_in_the_last_revision() -> None:
    faults = [
        Fault(at=4.0 + 3.1 * number, kind="leader stopped", seconds=0.5, host=number % 2)
        for number in range(8)
    ]
    for seed in SEEDS_WITH_TWO_WORKERS:
        found = simulate(seed, faults, FLAWED_CALM)
        # A count may be called complete until the next leader of the host is elected.
        assert not [what for what in found.problems if not what.startswith("called complete")], seed


def test_a_seed_replays_to_the_same_trace_in_another_process(tmp_path: Path) -> None:
    traces = [tmp_path / "first", tmp_path / "second"]
    for trace in traces:
        subprocess.run(
            [sys.executable, "-m", "tests.simulation", "--seed", "3", "--trace", trace],
            cwd=ROOT,
            check=True,
            timeout=120,
            stdout=subprocess.DEVNULL,
        )
    assert len(traces[0].read_bytes()) > 10_000
    assert traces[0].read_bytes() == traces[1].read_bytes()


def test_faults_that_do_not_matter_are_left_out() -> None:
    [flaw] = [flaw for flaw in FLAWS if flaw.rule == 11]
    partition = Fault(at=8.0, kind="partition", seconds=12.0, host=0)
    more = [Fault(at=3.0, kind="kafka away", seconds=1.0, amount=0.2), partition]
    with flaw.plant():
        assert shrink(1, more, FLAWED_CALM) == [partition]


ACCEPTED = {"kind": "accepted", "host": "a", "window": 60, "joined": True}
WINDOW = {"window": 60, "revision": 1, "count": 2, "degraded": False, "host": "a", "time": 1.0}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, ""),
        ({"count": 3}, "too high"),
        ({"count": 1}, "called complete"),
        ({"count": 1, "degraded": True}, "final"),
        ({"window": 120}, "too high"),
    ],
)
def test_the_checker_finds(change: dict[str, object], expected: str) -> None:
    facts = [
        *(ACCEPTED | {"id": id} for id in (7, 9, 7)),
        WINDOW | {"kind": "logged"},
        WINDOW | {"kind": "stored"} | change,
        WINDOW | {"kind": "sent", "host": "kafka"},
    ]
    found = check(map(json.dumps, facts))
    assert found[0].startswith(expected) if expected else not found, found


@pytest.mark.parametrize("joined", [False, True])
def test_a_complete_count_has_the_ids_of_hosts_that_had_joined(*, joined: bool) -> None:
    facts = [
        ACCEPTED | {"id": 7},
        ACCEPTED | {"id": 9, "host": "b", "joined": joined},
        WINDOW | {"kind": "logged", "count": 1},
        *(WINDOW | {"kind": kind, "revision": 2} for kind in ("logged", "stored")),
        WINDOW | {"kind": "sent", "revision": 2, "host": "kafka"},
    ]
    found = check(map(json.dumps, facts))
    assert [problem.split(":")[0] for problem in found] == ["called complete"] * joined


def test_the_ids_of_a_forgotten_host_may_be_missing_until_it_is_known_again() -> None:
    facts = [
        ACCEPTED | {"id": 7},
        ACCEPTED | {"id": 9, "host": "b"},
        {"kind": "forgotten", "host": "b"},
        WINDOW | {"kind": "logged", "count": 1},
        {"kind": "known", "host": "b"},
        *(WINDOW | {"kind": kind, "revision": 2} for kind in ("logged", "stored")),
        WINDOW | {"kind": "sent", "revision": 2, "host": "kafka"},
    ]
    assert not check(map(json.dumps, facts))
    facts[3], facts[4] = facts[4], facts[3]
    assert check(map(json.dumps, facts))[0].startswith("called complete")


def test_a_window_is_excused_only_if_a_host_says_so_and_one_was_forgotten() -> None:
    facts = [
        ACCEPTED | {"id": 7},
        ACCEPTED | {"id": 9, "host": "b"},
        *(WINDOW | {"kind": kind, "count": 1} for kind in ("logged", "stored")),
        WINDOW | {"kind": "sent", "count": 1, "host": "kafka"},
    ]
    forgotten, lower = {"kind": "forgotten", "host": "c"}, {"kind": "lower", "window": 60}
    assert not check(map(json.dumps, [*facts, forgotten, lower]))
    for others in ([], [forgotten], [lower], [forgotten, lower | {"window": 120}]):
        assert check(map(json.dumps, [*facts, *others]))


@pytest.mark.parametrize(
    ("counts", "loss", "is_lowered"),
    [
        ([(1, 1), (2, 2)], None, False),
        ([(1, 2), (2, 1), (3, 2)], 60, True),
        # Two masters had a record of the number one, and the higher one is the one that was lost.
        ([(1, 0), (1, 2), (2, 1), (3, 2)], 60, False),
        ([(1, 0), (1, 2), (2, 1), (3, 2)], None, True),
    ],
)
def test_a_later_revision_has_no_lower_count(
    counts: list[tuple[int, int]], loss: int | None, *, is_lowered: bool
) -> None:
    facts = [
        *(ACCEPTED | {"id": id} for id in (7, 9)),
        *({"kind": "lost", "what": "a failover", "window": loss} for _ in range(loss is not None)),
        *(
            WINDOW | {"kind": "logged", "revision": revision, "count": count, "degraded": count < 2}
            for revision, count in counts
        ),
    ]
    assert any(one.startswith("lowered") for one in check(map(json.dumps, facts))) == is_lowered


WELL = [
    {"kind": "accepted", "host": "a", "window": 60, "id": 7, "joined": True},
    {"kind": "lost", "what": "a flush", "window": 50},
    *(WINDOW | {"kind": kind, "count": 1} for kind in ("logged", "stored")),
    WINDOW | {"kind": "sent", "count": 1, "host": "kafka"},
]


@pytest.mark.parametrize(
    ("place", "change", "expected"),
    [
        (2, {"count": 0, "degraded": True}, "two records"),
        (2, {"degraded": True}, "two records"),
        (2, {"count": 0, "revision": 0}, "final: logged by a"),
        (3, {"window": 0, "count": 0}, "missing: no host"),
        (4, {"window": 0, "count": 0}, "final: sent by kafka"),
    ],
)
def test_the_checker_finds_in_each_place(
    place: int, change: dict[str, object], expected: str
) -> None:
    assert not check(map(json.dumps, WELL))
    facts = [*WELL]
    facts[place] = facts[place] | change
    found = check(map(json.dumps, facts))
    assert any(problem.startswith(expected) for problem in found), found


def test_a_count_that_is_ahead_of_its_ids_is_too_high() -> None:
    assert check(map(json.dumps, [*WELL[1:], WELL[0]]))[0].startswith("too high")


def test_a_record_that_redis_lost_may_be_made_again() -> None:
    facts = [*WELL, WINDOW | {"kind": "logged", "count": 0, "degraded": True}]
    assert check(map(json.dumps, facts))
    facts[1] = facts[1] | {"window": 70}
    assert not check(map(json.dumps, facts))
