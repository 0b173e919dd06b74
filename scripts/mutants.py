"""Runs cargo-mutants over the parts of the core that decide a count, and adds up what it found.

The outcome of each mutant is kept in `rust/mutants/outcomes.json`: the next run, in any clone,
leaves out what the tests caught. Each part is run against the tests nearest to it. What they missed
of the table and the window is run against the models of loom, and what is left against all tests of
the crate. A test that takes too much time or memory has caught its mutant. Each survivor is named,
and explained in docs/internals/mutants.md.
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
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import product
from typing import TYPE_CHECKING

from tests.support.paths import ROOT
from tests.support.recorded_runs import record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

SOURCE = "rust/core/src"
RESULTS = ROOT / "rust/mutants/results.jsonl"
OUTCOMES = ROOT / "rust/mutants/outcomes.json"
WORK = ROOT / "target/mutants"
# Of each part: its files.
PARTS = {
    "query": ["request/query.rs", "request/id.rs"],
    "window": ["window/*.rs"],
    "segment": ["segment/size.rs", "segment/layout.rs", "segment/clock.rs"],
    "table": ["table/*.rs"],
}
_ALL = sorted(
    path.stem
    for path in (ROOT / "rust/core/tests").glob("*.rs")
    if not path.stem.startswith(("loom_", "shuttle_"))
)
_BYTES = 4 << 30
# For a mutant that waits without end.
_SECONDS = 300
_COPIES = WORK / "copies"
_ENVIRONMENT = {
    "TMPDIR": str(_COPIES),
    "CARGO_PROFILE_DEV_DEBUG": "0",
    # A mutant is caught by the first input that fails. A smaller one is of no use.
    "PROPTEST_MAX_SHRINK_ITERS": "0",
    "RUST_BACKTRACE": "0",
}
_TESTS_FAIL = 4


@dataclass(frozen=True)
class Stage:
    """Tests against which the mutants are run that the stages before did not catch.

    `tests` are those of each part. `seconds` is a few times what one of them takes: processor time,
    since the machine may be busy.
    """

    name: str
    tests: Mapping[str, Sequence[str]]
    seconds: int
    profile: str = "dev"
    flags: str = ""
    has_unit_tests: bool = True

    @property
    def missed(self) -> str:
        """The outcome of a mutant that this stage did not catch."""
        return f"missed by {self.name}"


# The nearest tests find most of the mutants in the shortest time.
_NEAREST = {
    "query": ["query"],
    "window": ["windows"],
    "segment": ["clock", "size"],
    "table": ["growing", "table"],
}
_MODELS = {
    "window": ["loom_claim", "loom_open", "loom_reuse"],
    "table": ["loom_claim", "loom_freeze", "loom_moving"],
}
STAGES = (
    Stage("the nearest tests", _NEAREST, 10),
    Stage("the models", _MODELS, 300, "models", "--cfg loom", has_unit_tests=False),
    Stage("all tests", dict.fromkeys(PARTS, _ALL), 60),
)
_NOT_RUN = "not run"


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
        for number, part in product(range(len(STAGES)), parts):
            if time.monotonic() < until and not _run(part, number, until):
                status = 1
    except KeyboardInterrupt:
        pass
    files = _summary(parts)
    if options.record:
        record(RESULTS, {"files": files})
    return status


def _run(part: str, number: int, until: float) -> bool:
    """Run a stage for a part; false if the tests fail without a mutant."""
    stage = STAGES[number]
    tests = stage.tests.get(part, ())
    # Those of later stages, too, were missed by this one.
    ended = {"caught", "timeout", "unviable", *(later.missed for later in STAGES[number:])}
    rest = [mutant for mutant in _mutants(part) if _known().get(mutant) not in ended]
    if not tests or not rest:
        return True
    place = WORK / part
    shutil.rmtree(place, ignore_errors=True)
    # The tool leaves out what stands here.
    found = place / "mutants.out"
    found.mkdir(parents=True)
    left_out = [mutant for mutant, outcome in _known().items() if outcome in ended]
    (found / "previously_caught.txt").write_text("".join(f"{mutant}\n" for mutant in left_out))
    shutil.rmtree(_COPIES, ignore_errors=True)
    _COPIES.mkdir(parents=True)
    _say(f"{part}: {len(rest)} mutants against the tests {', '.join(tests)}")
    runner = f'["prlimit", "--core=0", "--cpu={stage.seconds}", "--data={_BYTES}"]'
    process = subprocess.Popen(
        [
            *("cargo", "mutants", "--package", "verve-core", "--output", place, "--iterate"),
            *_selection(part),
            *("--profile", stage.profile),
            *("--timeout", f"{_SECONDS}", "--build-timeout", f"{2 * _SECONDS}"),
            *("--colors", "never", "--cap-lints", "true", "--no-shuffle"),
            f"--cargo-arg=--config=target.'cfg(unix)'.runner={runner}",
            # Not behind `--`, which only runs these tests, but builds all.
            *(["--cargo-arg=--lib"] if stage.has_unit_tests else []),
            *(f"--cargo-arg=--test={test}" for test in tests),
        ],
        cwd=ROOT,
        env=os.environ
        | _ENVIRONMENT
        | {
            "CARGO_TARGET_DIR": str(WORK / f"build-{stage.profile}"),
            "RUSTFLAGS": f"{stage.flags} {os.environ.get('RUSTFLAGS', '')}".strip(),
        },
    )
    try:
        process.wait(max(0, until - time.monotonic()))
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        _interrupt(process)
    _keep(found, stage)
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
    # The tool takes the helpers of the tests for code.
    return ["--exclude-re= in tests::", *(f"--file={SOURCE}/{pattern}" for pattern in PARTS[part])]


def _keep(found: Path, stage: Stage) -> None:
    """Add what the last run found to what earlier ones did."""
    known = _known()
    for name in ("caught", "timeout", "unviable", "missed"):
        path = found / f"{name}.txt"
        outcome = stage.missed if name == "missed" else name
        known |= dict.fromkeys(path.read_text().splitlines() if path.exists() else [], outcome)
    _write(known)


def _known() -> dict[str, str]:
    return json.loads(OUTCOMES.read_text()) if OUTCOMES.exists() else {}


def _write(known: dict[str, str]) -> None:
    OUTCOMES.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")


def _summary(parts: list[str]) -> dict[str, dict[str, int]]:
    """Say what is known of the mutants that the code has now: per file, how many came to what."""
    known = _known()
    files: dict[str, Counter[str]] = {}
    now = {mutant: known.get(mutant, _NOT_RUN) for part in PARTS for mutant in _mutants(part)}
    _write(now)
    its = tuple(f"{SOURCE}/{pattern}" for part in parts for pattern in PARTS[part])
    for mutant, outcome in now.items():
        file = mutant.split(":")[0]
        if not any(fnmatch(file, pattern) for pattern in its):
            continue
        files.setdefault(file, Counter(mutants=0)).update([outcome, "mutants"])
        if outcome.startswith("missed"):
            _say(f"{outcome}: {mutant}")
    for file, counts in files.items():
        _say(f"{file}: " + ", ".join(f"{count} {name}" for name, count in counts.items()))
    return {file: dict(counts) for file, counts in files.items()}


def _mutants(part: str) -> list[str]:
    listed = subprocess.run(
        ["cargo", "mutants", "--list", "--package", "verve-core", *_selection(part)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return listed.stdout.splitlines()


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
