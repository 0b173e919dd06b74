"""Compare how far counts of distinct ids are off, and what they cost.

    python -m bench.accuracy                      all, about 10 minutes, for the page
    python -m bench.accuracy --only boundary,lost --results /tmp/accuracy --page /tmp/accuracy.md

All services take part in a case at the same time, since their errors do not depend on their speed.
Speeds are measured one after the other: the machine has to be at rest for them.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.accuracy import page, results, speed
from bench.accuracy.cases import CASES, STATSD_LEAD, run
from bench.accuracy.contenders import CONTENDERS
from bench.harness import build, machine
from bench.harness.server_process import ServerError
from bench.report.page import ACCURACY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.accuracy.cases import Case
    from bench.accuracy.contenders import Contender

SPEED_SECONDS = 4.0


def main() -> int:
    """Run the selected cases; return 1 if one could not be run, or if Verve is wrong."""
    options = arguments()
    machine.allow_open_files()
    try:
        build.program(build.LOAD)
        contenders = [one for one in CONTENDERS if prepared(one)]
    except build.BuildError as error:
        say(f"error: {error}")
        return 1
    bad = False
    for case in CASES:
        if selected(case.name, options.only):
            samples = counts(case, contenders, options.rounds)
            results.renew(options.results, results.CASES, samples)
            bad = bad or any(map(wrong, samples, samples.values()))
    if selected(results.SPEED, options.only):
        samples = speeds(contenders, options.rounds)
        results.renew(options.results, results.SPEED, samples)
        bad = bad or any(map(wrong, samples, samples.values()))
    page.render(options.results, options.page)
    say(f"the page: {options.page}; raw figures: {options.results}")
    return int(bad)


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Compare how far counts are off.")
    names = ", ".join([*(case.name for case in CASES), results.SPEED])
    parser.add_argument(
        "--only", default="", help=f"names or patterns with commas between: {names}; default: all"
    )
    parser.add_argument("--rounds", type=int, default=3, help="rounds; default: 3")
    parser.add_argument("--results", type=Path, default=page.RESULTS, help="folder of raw figures")
    parser.add_argument("--page", type=Path, default=ACCURACY, help="file of the page")
    return parser.parse_args()


def selected(name: str, only: str) -> bool:
    """Whether `name` is among the patterns."""
    return not only or any(fnmatch(name, one.strip()) for one in only.split(","))


def prepared(contender: Contender) -> bool:
    """Whether a contender can take part; says why not."""
    try:
        contender.prepare()
    except build.MissingError as error:
        say(f"{contender.title} is left out: {error}")
        return False
    return True


def counts(case: Case, contenders: Sequence[Contender], rounds: int) -> results.Samples:
    """Run a case against all contenders together, in each round."""
    names = [one for one in contenders if case.applies_to(one)]
    samples: results.Samples = {f"{case.name}/{one.name}": [] for one in names}
    for turn in range(1, rounds + 1):
        boundary = math.ceil((time.time() + 2 * STATSD_LEAD) / case.window) * case.window
        with ThreadPoolExecutor(len(names)) as pool:
            runs = {
                one.name: pool.submit(attempted, run, case, one, float(boundary)) for one in names
            }
        for name, done in runs.items():
            sample = done.result()
            samples[f"{case.name}/{name}"].append(sample)
            say(f"  {case.name} {turn}/{rounds} {name:<12} {short(sample)}")
    return samples


def speeds(contenders: Sequence[Contender], rounds: int) -> results.Samples:
    """Measure the speeds; contenders take turns."""
    samples: results.Samples = {one.name: [] for one in contenders}
    for turn in range(1, rounds + 1):
        for one in contenders:
            sample = attempted(speed.measure, one, SPEED_SECONDS)
            samples[one.name].append(sample)
            say(f"  speed {turn}/{rounds} {one.name:<12} {short(sample)}")
    return samples


def attempted(measure: Callable[..., dict[str, Any]], *arguments: object) -> dict[str, Any]:
    """Return a sample. A failure is a sample with a problem, so that the others go on."""
    try:
        return measure(*arguments)
    except (ServerError, build.BuildError, OSError, subprocess.SubprocessError) as error:
        return {"problem": " ".join((str(error) or type(error).__name__).split())}


def wrong(name: str, samples: Sequence[dict[str, Any]]) -> bool:
    """Whether a run failed, or Verve counted wrong."""
    verve = name.rpartition("/")[2].startswith("verve")
    return any("problem" in one or (verve and one["error"]) for one in samples)


def short(sample: dict[str, Any]) -> str:
    """Return a sample in a few words."""
    if "problem" in sample:
        return f"FAILED: {sample['problem']}"
    if "rate" in sample:
        return f"{sample['rate']:,.0f} requests/s, {sample['cpu_us']:.1f} us, {sample['error']:+,}"
    return f"{sample['error']:+,} of {sample['acknowledged']:,} ids, {sample['refused']:,} refused"


def say(text: str) -> None:
    """Print to standard error."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
