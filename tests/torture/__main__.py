"""`make torture`: rounds of real components under load and faults, by seed.

`--record` adds a line to results.jsonl, from which `report` makes docs/internals/torture.md.
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.kafka.broker import missing
from tests.support.recorded_runs import stamp
from tests.torture.faults.mounts import enter_namespace
from tests.torture.faults.proxy import Proxy
from tests.torture.faults.rig import Plan
from tests.torture.report import page, results
from tests.torture.round import MOST_SHOWN, Amount, Outcome, play

MINUTES_OF_A_ROUND = 2.5
_BATCH_RATE = "batches per second to a host alone; to a cluster, which shares a Redis, a quarter"


@dataclass(slots=True)
class Run:
    """The sum of the rounds of this run."""

    first_seed: int
    rounds: int = 0
    figures: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    recoveries: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    left_out: set[str] = field(default_factory=set)
    began: float = field(default_factory=time.monotonic)

    def add(self, outcome: Outcome) -> None:
        """Add a round."""
        self.rounds += 1
        verdict, counts = outcome.verdict, outcome.report["counts"]
        figures = {
            "windows": verdict.windows,
            "exact": verdict.exact,
            "wrong": verdict.wrong,
            "missing": verdict.missing,
            "lost": verdict.lost,
            "ids": verdict.counted,
            "singles": counts.get("singles_ok", 0),
            "batches": counts.get("batches_ok", 0),
            "bad": counts.get("bad", 0),
            "unanswered": counts.get("singles_unanswered", 0)
            + counts.get("batch_ids_unanswered", 0),
            "callbacks": counts.get("callbacks", 0),
            "stream_events": counts.get("stream_events", 0),
            "pages": counts.get("pages", 0),
            "kills": outcome.injector.kills,
            "faults": len(outcome.injector.injected),
            "problems": len(outcome.problems),
        }
        for name, count in figures.items():
            self.figures[name] += count
        for one in outcome.injector.injected:
            self.recoveries[one.kind].append(round(one.seconds, 2))
        self.left_out |= set(outcome.injector.left_out)

    def line(self) -> dict[str, Any]:
        """The line for the results."""
        return {
            **dict.fromkeys(results.SUMS, 0),
            **stamp(),
            "first_seed": self.first_seed,
            "rounds": self.rounds,
            "seconds": round(time.monotonic() - self.began),
            **self.figures,
            "left_out": sorted(self.left_out),
            "recoveries": dict(sorted(self.recoveries.items())),
        }


def main() -> int:
    """Run what the arguments say; 1 if a round found a fault."""
    parser = argparse.ArgumentParser(prog="make torture", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("run", "report"), default="run")
    parser.add_argument("--minutes", type=float, default=60, help="begin rounds for so long")
    parser.add_argument("--round", type=float, default=MINUTES_OF_A_ROUND, help="minutes of load")
    parser.add_argument("--seed", type=int, help="the first seed; else the next after the results")
    parser.add_argument("--rounds", type=int, help="end after so many rounds")
    parser.add_argument("--rate", type=int, default=0, help="accepts of one id per second; 0: all")
    parser.add_argument("--batch-rate", type=int, default=20, help=_BATCH_RATE)
    parser.add_argument("--batch-size", type=int, default=4_000, help="ids of the largest batch")
    parser.add_argument("--record", action="store_true", help="add a line to the results")
    parser.add_argument("--line", type=Path, help="write the line of this run here")
    options = parser.parse_args()
    if options.what == "report":
        page.write()
        return 0
    enter_namespace(sys.argv[1:])
    # The reader of the tests asks on while its broker is away.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    return _run(options)


def _run(options: argparse.Namespace) -> int:
    seed = options.seed or results.totals(results.lines()).next_seed
    run = Run(seed)
    # In a shell's background SIGINT is ignored, unless somebody asks for it.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    until = time.monotonic() + 60 * options.minutes
    if Proxy.program() is None:
        _say("haproxy is missing; hint: scripts/setup dev installs it")
        return 1
    if (why := missing()) is not None:
        _say(f"without Kafka: {why}")
    try:
        while time.monotonic() < until and run.rounds != options.rounds:
            plan = Plan.drawn(seed + run.rounds, has_kafka=why is None)
            _say(f"seed {plan.seed}: {plan.title}")
            alone = len(plan.listeners) == 1
            amount = Amount(
                60 * options.round,
                singles_rate=options.rate,
                batch_rate=options.batch_rate if alone else max(1, options.batch_rate // 4),
                batch_size=options.batch_size,
            )
            try:
                outcome = play(plan, amount)
            except AssertionError as error:
                run.rounds += 1
                run.figures["problems"] += 1
                _say(f"  the round broke off: {error}"[-4_000:])
                continue
            run.add(outcome)
            _tell(outcome)
    except KeyboardInterrupt:
        _say("stopped: the rounds that ended are counted")
    if run.rounds:
        line = run.line()
        if options.record:
            results.append(line)
        if options.line is not None:
            options.line.write_text(json.dumps(line))
        _say(json.dumps({name: line[name] for name in results.SUMS}))
    return int(not run.rounds or run.figures["problems"] > 0)


def _tell(outcome: Outcome) -> None:
    verdict = outcome.verdict
    _say(
        f"  {verdict.windows} windows, {verdict.exact} of them to the id, {verdict.wrong} wrong, "
        f"{verdict.missing} missing; {verdict.counted} ids; "
        f"{len(outcome.injector.injected)} faults, {outcome.injector.kills} kills; "
        f"{len(outcome.problems)} problems"
    )
    _say(f"  refused: {json.dumps(outcome.report['refused'])}")
    for problem in outcome.problems[:MOST_SHOWN]:
        _say(f"  {problem}")
    if outcome.kept is not None:
        _say(f"  files of the round: {outcome.kept}")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
