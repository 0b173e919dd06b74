"""Runs seeds of the simulation; a seed replays to the same trace, byte for byte."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.recorded_runs import record

from .flaws import FLAWS
from .scenario import planned, shrink, simulate

if TYPE_CHECKING:
    from .history import Fault
    from .scenario import Outcome

RESULTS = Path(__file__).parent / "results.jsonl"
_FIXED_HASHES = {"PYTHONHASHSEED": "0"}


def main() -> int:
    """Run what the arguments say; 1 if a seed failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="replay a seed, and shrink its faults if it fails")
    parser.add_argument("--trace", type=Path, help="write the trace and the history of --seed here")
    parser.add_argument(
        "--flaw", type=int, help="break this rule of docs/internals/cluster.md in --seed"
    )
    parser.add_argument("--minutes", type=float, default=10, help="run new seeds for so long")
    parser.add_argument("--first", type=int, help="from this seed on; else from the next one")
    parser.add_argument("--jobs", type=int, default=1, help="in so many processes")
    parser.add_argument("--record", action="store_true", help="add a line to the results")
    options = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":
        # Sets of strings have an order of their own in each process otherwise.
        os.execve(  # noqa: S606
            sys.executable,
            [sys.executable, "-m", "tests.simulation", *sys.argv[1:]],
            os.environ | _FIXED_HASHES,
        )
    logging.getLogger("verve").setLevel(logging.CRITICAL + 1)
    if options.seed is not None:
        return _replay(options.seed, options.flaw, options.trace)
    first = int(totals()["next"]) if options.first is None else options.first
    return _run(first, options.minutes, options.jobs, is_recorded=options.record)


def _say(text: str, end: str = "\n") -> None:
    sys.stdout.write(text + end)
    sys.stdout.flush()


def _replay(seed: int, rule: int | None, trace: Path | None) -> int:
    flaw = next((flaw for flaw in FLAWS if flaw.rule == rule), None)
    if flaw is None:
        return _show(seed, planned(seed), trace)
    with flaw.plant():
        return _show(seed, flaw.planned(seed), trace)


def _show(seed: int, faults: list[Fault], trace: Path | None) -> int:
    outcome = simulate(seed, faults)
    if trace is not None:
        trace.write_text("\n".join([*outcome.trace, *outcome.history]) + "\n")
    left = shrink(seed, faults) if outcome.problems else faults
    for line in [*map(str, left), *outcome.problems[:20]]:
        _say(line)
    _say(
        f"seed {seed}: {outcome.seconds:.0f} s, {outcome.ids} requests, "
        f"{len(outcome.problems)} problems"
    )
    return bool(outcome.problems)


def totals() -> dict[str, float]:
    """The sums of all recorded runs."""
    lines = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    found = [json.loads(line) for line in lines]
    return {
        name: sum(line[name] for line in found)
        for name in ("seeds", "failed", "requests", "simulated_seconds")
    } | {
        "next": max((line.get("next", line["first"] + line["seeds"]) for line in found), default=1)
    }


@dataclass
class _Sums:
    """What a run of new seeds has done so far."""

    first: int
    next: int
    seeds: int = 0
    requests: int = 0
    simulated: float = 0.0
    failed: list[int] = field(default_factory=list)

    def add(self, number: int, ended: Future[Outcome]) -> None:
        """Take the outcome of a seed, and say what is wrong with it."""
        self.seeds += 1
        error = ended.exception()
        if isinstance(error, KeyboardInterrupt):
            raise error
        if error is not None:
            problems = [repr(error)]
        else:
            outcome = ended.result()
            problems = outcome.problems or ([] if outcome.ids else ["no request was answered"])
            self.requests += outcome.ids
            self.simulated += outcome.seconds
        if problems:
            self.failed.append(number)
            _say(f"\rseed {number}: {problems[0]}")

    def line(self) -> dict[str, object]:
        """The line of the results."""
        return {
            "first": self.first,
            "next": self.next,
            "seeds": self.seeds,
            "failed": len(self.failed),
            "failed_seeds": self.failed,
            "requests": self.requests,
            "simulated_seconds": round(self.simulated),
        }


def _run(first: int, minutes: float, jobs: int, *, is_recorded: bool) -> int:
    sums = _Sums(first, first)
    with ProcessPoolExecutor(jobs) as pool:
        try:
            try:
                _run_seeds(sums, time.monotonic() + 60 * minutes, pool, jobs)
            finally:
                if is_recorded:
                    record(RESULTS, sums.line())
            for seed in sums.failed:
                _say(f"\nseed {seed} fails with these faults alone:")
                for fault in pool.submit(shrink, seed, planned(seed)).result():
                    _say(f"  {fault}")
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
    _say("")
    if is_recorded:
        _say(f"in all: {json.dumps(totals())}")
    return bool(sums.failed)


def _run_seeds(sums: _Sums, until: float, pool: ProcessPoolExecutor, jobs: int) -> None:
    running: dict[Future[Outcome], int] = {}
    while running or time.monotonic() < until:
        while len(running) < jobs and time.monotonic() < until:
            running[pool.submit(simulate, sums.next)] = sums.next
            sums.next += 1
        for ended in wait(running, return_when=FIRST_COMPLETED).done:
            sums.add(running.pop(ended), ended)
        left = max(0.0, until - time.monotonic())
        done = f"{sums.seeds} seeds, {len(sums.failed)} failed"
        _say(f"\r{done}, {left:.0f} s left ", end="")


if __name__ == "__main__":
    sys.exit(main())
