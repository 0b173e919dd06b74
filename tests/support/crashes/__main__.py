"""Damages segments, ledgers and spills by chance, and sums up what the real code makes of them."""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.support.crashes.damage import Outcome, Outcomes
from tests.support.crashes.damaged_files import Ledgers, spill_outcomes
from tests.support.crashes.segments import MEMORY, segment_outcomes
from tests.support.paths import ROOT
from tests.support.recorded_runs import record

RESULTS = ROOT / "tests/faults/crashes/results.jsonl"
KINDS = ("segment", "ledger", "spill")
_PIECE = 1_000


def main() -> int:
    """Run what the arguments say; 1 if a file was read wrongly, or a process crashed."""
    parser = argparse.ArgumentParser(prog="make damage", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="go on for so long")
    parser.add_argument("--count", type=int, help="end after so many damages to each kind of file")
    parser.add_argument("--kind", choices=KINDS, action="append", help="this kind only")
    parser.add_argument("--record", action="store_true", help="add a line to the results")
    options = parser.parse_args()
    until = time.monotonic() + 60 * options.minutes
    left = options.count or sys.maxsize
    done: dict[str, Counter[str]] = {}
    try:
        while left and time.monotonic() < until:
            piece = min(left, _PIECE)
            for kind in options.kind or KINDS:
                done.setdefault(kind, Counter()).update(_run(kind, piece))
                _say(f"{kind}: {json.dumps(done[kind])}")
            left -= piece
    except KeyboardInterrupt:
        _say("stopped: what ended is counted")
    if options.record and done:
        _record(done)
        _say(f"in all: {json.dumps(totals())}")
    return any(
        sums["crashes"] or (kind != "segment" and sums[Outcome.WRONG])
        for kind, sums in done.items()
    )


def _run(kind: str, count: int) -> dict[str, int]:
    """The outcomes of `count` damages to files of a kind."""
    seed = os.urandom(6).hex()
    chance = random.Random(seed)
    crashes: list[str] = []
    with tempfile.TemporaryDirectory(dir=MEMORY) as own:
        if kind == "segment":
            outcomes, _, crashes = segment_outcomes(seed, count)
        elif kind == "spill":
            outcomes = spill_outcomes(Path(own), count, chance)
        else:
            outcomes = _ledger_outcomes(Path(own), count, chance, crashes)
    for crash in crashes:
        _say(f"{kind}: {crash}")
    tally = {outcome.value: outcomes[outcome] for outcome in Outcome}
    return {"count": count, **tally, "crashes": len(crashes)}


def _ledger_outcomes(own: Path, count: int, chance: random.Random, crashes: list[str]) -> Outcomes:
    ledgers = Ledgers(own)
    outcomes = Outcomes()
    for _ in range(count):
        try:
            outcome, what = ledgers.damaged(chance)
        except AssertionError as error:
            crashes.append(str(error))
            continue
        outcomes[outcome] += 1
        if outcome is Outcome.WRONG:
            _say(f"wrong: {what}")
    return outcomes


def totals() -> dict[str, dict[str, int]]:
    """The sums of all recorded runs, by kind."""
    lines = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    found: dict[str, Counter[str]] = {}
    for line in map(json.loads, lines):
        for kind, sums in line["kinds"].items():
            found.setdefault(kind, Counter()).update(sums)
    return {kind: dict(sums) for kind, sums in found.items()}


def _record(done: dict[str, Counter[str]]) -> None:
    record(RESULTS, {"kinds": {kind: dict(sums) for kind, sums in done.items()}})


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
