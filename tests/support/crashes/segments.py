"""Runs `damaged_segment` in processes of their own: one that crashes or hangs is told of."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.support.crashes.damage import Outcome, Outcomes
from tests.support.paths import ROOT

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108
"""Where segments belong, if there is such a place."""
AT_ONCE = 500
_SECONDS = 300
"""Far more than `AT_ONCE` take: after it a process hangs."""


class SegmentOutcomes(NamedTuple):
    """Tallies, the offsets of what was read wrongly, and what ended or hung a process."""

    outcomes: Outcomes
    wrong: list[int]
    crashes: list[str]


def segment_outcomes(seed: str, count: int) -> SegmentOutcomes:
    """What `count` damaged segments are attached as."""
    found = SegmentOutcomes(Outcomes(), [], [])
    first = 0
    while first < count:
        first = _run(seed, first, min(AT_ONCE, count - first), found)
    return found


def _run(seed: str, first: int, count: int, found: SegmentOutcomes) -> int:
    """Attach `count` segments from number `first` on; the number to go on with."""
    module = "tests.support.crashes.damaged_segment"
    with tempfile.TemporaryDirectory(dir=MEMORY) as directory:
        command = [sys.executable, "-m", module, directory, seed, str(first), str(count)]
        try:
            done = subprocess.run(
                command, cwd=ROOT, capture_output=True, text=True, timeout=_SECONDS, check=False
            )
            output, end = done.stdout, f"status {done.returncode}: {done.stderr[-500:]}"
        except subprocess.TimeoutExpired as error:
            output, end = (error.stdout or b"").decode(), "it hangs"
    for line in output.splitlines():
        number, at, bit, *outcome = line.split()
        first = int(number) + 1
        if not outcome:
            found.crashes.append(f"seed {seed}, number {number}, byte {at}, bit {bit}: {end}")
            return first
        found.outcomes[Outcome(outcome[0])] += 1
        if outcome[0] == Outcome.WRONG:
            found.wrong.append(int(at))
    if not output:
        raise AssertionError(end)
    return first
