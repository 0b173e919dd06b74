"""A short round of `make torture`: real components, mixed load, faults; and its page."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.caller import FULL
from tests.support.paths import ROOT
from tests.torture.faults.proxy import Proxy
from tests.torture.faults.rig import Plan
from tests.torture.report.page import PAGE, PICTURE, render
from tests.torture.report.plot import plot
from tests.torture.report.results import lines, totals

if TYPE_CHECKING:
    from pathlib import Path

CLUSTER = 29
"""A seed whose round has two hosts, windows of 2 s, and fault upon fault."""
MINUTES = 2


@pytest.mark.alone(reason="several hosts, Redis, Kafka, a proxy and their load take all of it")
@pytest.mark.timeout(600)
def test_a_round_of_torture(tmp_path: Path) -> None:
    if Proxy.program() is None:
        pytest.skip("haproxy is missing; hint: scripts/setup installs it")
    # Full runs take seeds that no run had before.
    seed = time.time_ns() // 1_000_000_000 * 3 + 1 if FULL else CLUSTER
    line = tmp_path / "line"
    amount = [f"--round={MINUTES}", "--rounds=1", "--rate=800", "--batch-rate=4"]
    command = [sys.executable, "-m", "tests.torture", f"--seed={seed}", *amount, f"--line={line}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

    found = json.loads(line.read_text())
    assert (found["wrong"], found["missing"], found["lost"], found["problems"]) == (0, 0, 0, 0)
    assert found["windows"] > 4
    assert found["faults"] > 2
    for what in ("ids", "singles", "batches", "bad", "callbacks", "stream_events", "pages"):
        assert found[what] > 0, what


def test_rounds_are_drawn_by_seed() -> None:
    def drawn() -> list[Plan]:
        return [Plan.drawn(seed, has_kafka=True) for seed in range(60)]

    plans = drawn()
    assert [plan.seed for plan in plans] == list(range(60))
    assert {len(plan.listeners) for plan in plans} == {1, 2, 3}
    assert plans == drawn()
    assert len(plans[CLUSTER].listeners) > 1


def test_the_page_has_the_sums_of_the_results() -> None:
    made = totals(lines())
    assert PAGE.read_text() == render(made), "hint: make torture ARGS=report"
    assert PICTURE.read_text() == plot(made.recoveries), "hint: make torture ARGS=report"
