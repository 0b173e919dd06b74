"""Runs cargo-mutants over the parts of the core that decide a count, and adds up what it found.

What was found is kept in `target/mutants`: the next run leaves out what the tests caught. Each part
is run against the tests nearest to it, then what they missed against all tests of the crate. A test
that takes too much processor time or memory has caught its mutant. Each survivor is named, and
explained in docs/internals/mutants.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

from tests.support.paths import ROOT
from tests.support.recorded_runs import record

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = "rust/core/src"
RESULTS = ROOT / "rust/mutants/results.jsonl"
WORK = ROOT / "target/mutants"
# Of each part: its files, and the tests that find most of its mutants in the shortest time.
PARTS = {
    "query": (["request/query.rs", "request/id.rs"], ["query"]),
    "window": (["window/*.rs"], ["windows"]),
    "segment": (["segment/size.rs", "segment/layout.rs", "segment/clock.rs"], ["clock", "size"]),
    "table": (["table/*.rs"], ["table"]),
}
_ALL = sorted(
    path.stem
    for path in (ROOT / "rust/core/tests").glob("*.rs")
    if not path.stem.startswith(("loom_", "shuttle_"))
)
# A few times what the nearest tests take, and all: processor time, since the machine may be busy.
_NEAREST_SECONDS, _ALL_SECONDS = 10, 60
_BYTES = 4 << 30
# For a mutant that waits without end.
_SECONDS = 300
_COPIES = WORK / "copies"
_ENVIRONMENT = {
    "TMPDIR": str(_COPIES),
    "CARGO_TARGET_DIR": str(WORK / "build"),
    "CARGO_PROFILE_DEV_DEBUG": "0",
    # A mutant is caught by the first input that fails. A smaller one is of no use.
    "PROPTEST_MAX_SHRINK_ITERS": "0",
    "RUST_BACKTRACE": "0",
}
_TESTS_FAIL = 4
_OUTCOMES = ("caught", "missed", "timeout", "unviable")


def main() -> int:
    """Run what the arguments say; 1 if the tests fail without a mutant."""
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60, help="end after so long")
    parser.add_argument("--part", choices=PARTS, action="append", help="only this one")
    parser.add_argument("--record", action="store_true", help="add a line to the results")
    options = parser.parse_args()
    until = time.monotonic() + 60 * options.minutes
    parts = options.part or list(PARTS)
    status = 0
    try:
        runs = [(part, PARTS[part][1], _NEAREST_SECONDS) for part in parts]
        runs += [(part, _ALL, _ALL_SECONDS) for part in parts]
        for part, tests, seconds in runs:
            if time.monotonic() < until and not _run(part, tests, seconds, until):
                status = 1
    except KeyboardInterrupt:
        pass
    files = _summary(parts)
    if options.record:
        record(RESULTS, {"files": files})
    return status


def _run(part: str, tests: list[str], seconds: int, until: float) -> bool:
    """Run the mutants of a part that were not caught yet; false if the tests fail without one."""
    place = WORK / part
    place.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(_COPIES, ignore_errors=True)
    _COPIES.mkdir(parents=True)
    _say(f"{part}: against the tests {', '.join(tests)}")
    runner = f'["prlimit", "--core=0", "--cpu={seconds}", "--data={_BYTES}"]'
    process = subprocess.Popen(
        [
            *("cargo", "mutants", "--package", "verve-core", "--output", place, "--iterate"),
            *_selection(part),
            *("--timeout", f"{_SECONDS}", "--build-timeout", f"{2 * _SECONDS}"),
            *("--colors", "never", "--cap-lints", "true", "--no-shuffle"),
            f"--cargo-arg=--config=target.'cfg(unix)'.runner={runner}",
            # Not behind `--`, which only runs these tests, but builds all.
            *("--cargo-arg=--lib", *(f"--cargo-arg=--test={test}" for test in tests)),
        ],
        cwd=ROOT,
        env=os.environ | _ENVIRONMENT,
    )
    try:
        process.wait(max(0, until - time.monotonic()))
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        _interrupt(process)
    _keep(place)
    # Mutants that are missed have other exit statuses.
    return process.returncode != _TESTS_FAIL


def _interrupt(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        # It may wait without end for the output of a test that it has ended.
        process.kill()
        process.wait()


def _selection(part: str) -> list[str]:
    return [f"--file={SOURCE}/{pattern}" for pattern in PARTS[part][0]]


def _keep(place: Path) -> None:
    """Add what the last run found to what earlier ones did: the tool keeps only what was caught."""
    known = dict.fromkeys(_lines(place, "previously_caught"), "caught") | _known(place)
    for outcome in _OUTCOMES:
        known |= dict.fromkeys(_lines(place, outcome), outcome)
    (place / "known.json").write_text(json.dumps(known, indent=1))


def _lines(place: Path, name: str) -> list[str]:
    path = place / f"mutants.out/{name}.txt"
    return path.read_text().splitlines() if path.exists() else []


def _known(place: Path) -> dict[str, str]:
    path = place / "known.json"
    return json.loads(path.read_text()) if path.exists() else {}


def _summary(parts: list[str]) -> dict[str, dict[str, int]]:
    """Say what is known of the mutants that the code has now: per file, how many came to what."""
    files: dict[str, Counter[str]] = {}
    for part in parts:
        listed = subprocess.run(
            ["cargo", "mutants", "--list", "--package", "verve-core", *_selection(part)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        known = _known(WORK / part)
        for mutant in listed.stdout.splitlines():
            outcome = known.get(mutant, "not run")
            files.setdefault(mutant.split(":")[0], Counter(mutants=0))[outcome] += 1
            files[mutant.split(":")[0]]["mutants"] += 1
            if outcome in ("missed", "timeout"):
                _say(f"{outcome}: {mutant}")
    for file, counts in files.items():
        _say(f"{file}: " + ", ".join(f"{count} {name}" for name, count in counts.items()))
    return {file: dict(counts) for file, counts in files.items()}


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
