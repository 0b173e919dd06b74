"""Measure Verve beside its peers in one run.

    python -m bench                    all scenarios, quickly
    FULL=1 python -m bench             for the page in the repository
    ONLY=accept-distinct python -m bench
    python -m bench --list

Contenders take turns (A B C, A B C, ...), so that a slow minute of the machine hits all of them.
Ratios are taken within each round. Every answer is checked, and every count is compared with the
ids that were sent: a run with a wrong count is reported as failed, not as fast. Each scenario is
written to its own file as soon as it is measured. The page is made from the files.
"""

from __future__ import annotations

import argparse
import dataclasses
import http.client
import os
import sys
import time
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.harness import build, machine, versions
from bench.harness.sample import Sample
from bench.harness.server_process import ServerError
from bench.report import page as report
from bench.report.result import NOISE, Result, State, number, write
from bench.scenarios.scenario import Plan, Scenario
from bench.scenarios.servers import servers
from bench.scenarios.tables import tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.harness.sample import Contender

QUICK = Plan(full=False, seconds=2.0, rounds=2)
FULL = Plan(full=True, seconds=4.0, rounds=5)
FULL_RESULTS = build.BENCH / "results"
QUICK_RESULTS = FULL_RESULTS / "quick"


def main() -> int:
    """Run the selected scenarios; return 1 when a count was wrong or nothing was measured."""
    options = arguments()
    machine.allow_open_files()
    chosen_plan = FULL if options.full else QUICK
    plan = Plan(
        full=options.full,
        seconds=options.seconds or chosen_plan.seconds,
        rounds=options.rounds or chosen_plan.rounds,
    )
    every = [*servers(plan), *tables(plan)]
    chosen = [scenario for scenario in every if is_selected(scenario.name, options.only)]
    if options.list:
        for scenario in chosen:
            print(f"{scenario.name:<20} {scenario.title}")
        return 0
    if not chosen:
        say(f"error: no such scenario: `{options.only}`\nhint: --list shows all names")
        return 1
    folder = options.results or (FULL_RESULTS if plan.full else QUICK_RESULTS)
    page = options.page or (build.BENCH / "REPORT.md" if plan.full else folder / "REPORT.md")
    folder.mkdir(parents=True, exist_ok=True)
    results = []
    began = time.monotonic()
    try:
        described = versions.description()
        for place, scenario in enumerate(chosen, 1):
            minutes = (time.monotonic() - began) / 60
            say(f"[{place} of {len(chosen)}, {minutes:.0f} min so far] {scenario.title}")
            content = {**run(scenario, plan), "order": every.index(scenario), "machine": described}
            write(folder, content)
            results.append(Result(content))
            print(f"\n{report.table(results[-1])}", flush=True)
    except (build.BuildError, build.MissingError, machine.MachineError) as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted: the figures measured so far are kept")
    if len(results) == len(every):
        forget_others(folder, every)
    report.render(folder, page)
    summarize(results)
    say(f"{(time.monotonic() - began) / 60:.0f} minutes; the page: {page}; raw figures: {folder}")
    return 1 if any(result.failures() for result in results) else 0


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Measure Verve beside its peers.")
    parser.add_argument(
        "--only",
        default=os.environ.get("ONLY", ""),
        help="scenarios: names or patterns (table-*) with commas between; default: $ONLY, or all",
    )
    parser.add_argument(
        "--full",
        action="store_true",
        default=os.environ.get("FULL", "") not in {"", "0"},
        help="run long, for the page in the repository; default: $FULL",
    )
    parser.add_argument("--rounds", type=int, help="rounds; default: 2, in a full run 5")
    parser.add_argument("--seconds", type=float, help="of load; default: 2, in a full run 4")
    parser.add_argument("--results", type=Path, help="folder of the raw figures and the plots")
    parser.add_argument("--page", type=Path, help="file of the page")
    parser.add_argument("--list", action="store_true", help="list the scenarios")
    return parser.parse_args()


def is_selected(name: str, only: str) -> bool:
    """Whether the scenario `name` is among the patterns `only`."""
    return not only or any(fnmatch(name, pattern.strip()) for pattern in only.split(","))


def run(scenario: Scenario, plan: Plan) -> dict[str, Any]:
    """Run all rounds of a scenario and return the content of its file."""
    began = datetime.now(UTC)
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
    rounds = min(plan.rounds, scenario.rounds or plan.rounds)
    samples: dict[str, list[Sample]] = {contender.name: [] for contender in contenders}
    for turn in range(1, rounds + 1):
        for contender in contenders:
            if turn > (contender.rounds or rounds):
                continue
            begin = time.monotonic()
            sample = measure(contender)
            samples[contender.name].append(sample)
            show(scenario, contender, sample, f"{turn}/{rounds}", time.monotonic() - begin)
    return {
        "name": scenario.name,
        "title": scenario.title,
        "note": scenario.note,
        "columns": dict(scenario.columns),
        "more_is_better": scenario.more_is_better,
        "goals": [dataclasses.asdict(goal) for goal in scenario.goals],
        "price": dataclasses.asdict(scenario.price) if scenario.price else None,
        "contenders": [{"name": one.name, "title": one.title} for one in scenario.contenders],
        "skipped": skipped,
        "full": plan.full,
        "seconds": plan.seconds,
        "began": began.isoformat(timespec="seconds"),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "samples": {name: [vars(one) for one in all_] for name, all_ in samples.items()},
    }


def forget_others(folder: Path, every: Sequence[Scenario]) -> None:
    """Remove the files of scenarios that no longer exist."""
    names = {scenario.name for scenario in every}
    for path in folder.glob("*.json"):
        if path.stem not in names:
            path.unlink()


def measure(contender: Contender) -> Sample:
    """Take a sample. A failure is a sample with a problem, so that the others go on."""
    try:
        return contender.measure()
    except (ServerError, build.BuildError, OSError, http.client.HTTPException) as error:
        return Sample({}, [str(error) or type(error).__name__])


def show(scenario: Scenario, contender: Contender, sample: Sample, turn: str, took: float) -> None:
    """Print one line of progress per sample."""
    figures = "  ".join(
        f"{number(sample.figures[name])} {title}"
        for name, title in scenario.columns.items()
        if name in sample.figures
    )
    marks = [f"FAILED: {problem}" for problem in sample.problems]
    if sample.disturbed > NOISE:
        marks.append(f"disturbed: {sample.disturbed:.0%}")
    line = f"  {scenario.name} {turn} {contender.title:<26} {figures}"
    say("  ".join([line, *marks, f"({took:.0f} s)"]))


def summarize(results: Sequence[Result]) -> None:
    """Print the failed runs and the missed goals."""
    for result in results:
        for failure in result.failures():
            say(f"FAILED: {result.name}: {failure}")
        for verdict in result.verdicts():
            if verdict.state == State.MISSED:
                measured = number(verdict.measured or 0)
                say(f"missed: {result.name}: {report.goal_text(result, verdict)}, with {measured}")


def say(text: str) -> None:
    """Print to standard error."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
