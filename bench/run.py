"""Measures Verve beside its peers, side by side in one run.

    python bench/run.py                    all scenarios, five rounds
    ONLY=accept-distinct python bench/run.py
    python bench/run.py --list

Contenders take turns (A B C, A B C, ...), so that a slow minute of the machine hits all of them,
and ratios are taken round by round. Every answer is checked, and every count is compared with the
ids that were sent: a run whose count is wrong is reported as failed and not as fast. The table goes
to standard output, progress to standard error, raw figures to bench/results/quick/.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from datetime import UTC, datetime
from fnmatch import fnmatch
from typing import TYPE_CHECKING

import build
import machine
from contenders import NOISE
from report import Result
from scenarios import Scenario, scenarios

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from contenders import Contender, Sample

ROUNDS = 5
SECONDS = 4.0
RESULTS = build.BENCH / "results" / "quick"


def main() -> int:
    """Run what was asked for; 1 when something counted wrong, or nothing was measured."""
    options = arguments()
    chosen = [s for s in scenarios(options.seconds) if wanted(s.name, options.only)]
    if options.list:
        for scenario in chosen:
            print(f"{scenario.name:<18} {scenario.title}")
        return 0
    if not chosen:
        say(f"error: no such scenario: `{options.only}`\nhint: --list names them")
        return 1
    began = datetime.now(UTC)
    results = []
    try:
        description = machine.description()
        for scenario in chosen:
            results.append(run(scenario, options.rounds))
            print(results[-1].table(), flush=True)
    except (build.BuildError, build.MissingError, machine.MachineError) as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted: what was measured so far is kept")
    path = write(results, began, description, options.rounds)
    summarize(results, path)
    return 1 if any(result.failures() for result in results) else 0


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measure Verve beside its peers.")
    parser.add_argument(
        "--only",
        default=os.environ.get("ONLY", ""),
        help="scenarios, by name or pattern (table-*), with commas between; default: $ONLY, or all",
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="default: %(default)s")
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help="a run; default: %(default)s"
    )
    parser.add_argument("--list", action="store_true", help="name the scenarios")
    return parser.parse_args()


def wanted(name: str, only: str) -> bool:
    """Whether a scenario was asked for."""
    return not only or any(fnmatch(name, pattern.strip()) for pattern in only.split(","))


def run(scenario: Scenario, rounds: int) -> Result:
    """All rounds of a scenario."""
    skipped = {}
    contenders: list[Contender] = []
    for contender in scenario.contenders:
        try:
            contender.prepare()
        except build.MissingError as error:
            if contender is scenario.contenders[0]:
                raise
            skipped[contender.name] = str(error)
            say(f"{contender.title} is left out: {error}")
        else:
            contenders.append(contender)
    samples: dict[str, list[Sample]] = {contender.name: [] for contender in contenders}
    for number in range(1, rounds + 1):
        for contender in contenders:
            begin = time.monotonic()
            sample = contender.measure()
            samples[contender.name].append(sample)
            tell(scenario, contender, sample, f"{number}/{rounds}", time.monotonic() - begin)
    return Result(scenario, samples, skipped)


def tell(scenario: Scenario, contender: Contender, sample: Sample, turn: str, took: float) -> None:
    """Progress: a line a sample."""
    figures = "  ".join(
        f"{sample.figures[name]:,.2f} {title}" for name, title in scenario.columns.items()
    )
    marks = [f"FAILED: {problem}" for problem in sample.problems]
    if sample.disturbed > NOISE:
        marks.append(f"disturbed: {sample.disturbed:.0%}")
    line = f"{scenario.name} {turn} {contender.title:<26} {figures}"
    say("  ".join([line, *marks, f"({took:.0f} s)"]))


def write(
    results: Sequence[Result], began: datetime, description: dict[str, str], rounds: int
) -> Path:
    """Keep everything that was measured in one file."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{began:%Y%m%dT%H%M%SZ}.json"
    content = {
        "began": began.isoformat(),
        "ended": datetime.now(UTC).isoformat(),
        "rounds": rounds,
        "machine": description,
        "scenarios": [result.as_json() for result in results],
    }
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path


def summarize(results: Sequence[Result], path: Path) -> None:
    """The end: what failed, what was missed, where the figures are."""
    for failure in (failure for result in results for failure in result.failures()):
        say(f"FAILED: {failure}")
    for missed in (missed for result in results for missed in result.missed()):
        say(f"missed: {missed}")
    say(f"raw figures: {path.relative_to(build.ROOT)}")


def say(text: str) -> None:
    """To standard error."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
