"""Runs the fuzz targets of `rust/fuzz` and of Redis in turn, and adds up what was executed.

The inputs that libFuzzer finds are kept in `target/fuzz`, so that the next run goes on from them.
Those that fail are copied to `rust/fuzz/corpus`, where `cargo test` replays them. The target
`redis` (tests/faults/cluster/fuzz) needs no libFuzzer; it takes seeds that no run had before.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

from tests.support.paths import ROOT
from tests.support.recorded_runs import record

if TYPE_CHECKING:
    from pathlib import Path

CRATE = ROOT / "rust/fuzz"
RESULTS = CRATE / "results.jsonl"
WORK = ROOT / "target/fuzz"
REDIS = "redis"
TARGETS = [*sorted(path.stem for path in (CRATE / "harness/targets").glob("*.rs")), REDIS]
_SHARE_SECONDS = 60


def main() -> int:
    """Run what the arguments say; 1 if a target failed."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="run all targets for so long")
    parser.add_argument("--target", choices=TARGETS, action="append", help="only this one")
    parser.add_argument("--record", action="store_true", help="add a line to the results")
    options = parser.parse_args()
    targets = options.target or TARGETS
    until = time.monotonic() + 60 * options.minutes
    share = max(1, min(_SHARE_SECONDS, int(60 * options.minutes / len(targets))))
    executed: Counter[str] = Counter()
    failed: list[str] = []
    try:
        while time.monotonic() < until and len(failed) < len(targets):
            for target in targets:
                if target not in failed and not _run(target, share, executed):
                    failed.append(target)
    except KeyboardInterrupt:
        pass
    if options.record and executed:
        _record(executed, failed)
    return bool(failed)


def _run(target: str, seconds: int, executed: Counter[str]) -> bool:
    """Run a target; whether it held."""
    found, failures = WORK / "corpus" / target, WORK / "failures" / target
    kept = CRATE / "corpus" / target
    if target == REDIS:
        module = "tests.faults.cluster.fuzz"
        now = str(time.time_ns())
        command: list[str | Path] = [sys.executable, "-m", module, str(seconds), now]
    else:
        for folder in (found, failures, kept):
            folder.mkdir(parents=True, exist_ok=True)
        command = [
            *("cargo", "+nightly", "fuzz", "run", "--fuzz-dir", CRATE / "harness"),
            *("--release", "--debug-assertions", "--sanitizer", "none"),
            *("--target-dir", WORK / "build"),
            *(target, found, kept, "--"),
            *(f"-max_total_time={seconds}", "-print_final_stats=1", "-timeout=10"),
            *("-max_len=4096", f"-artifact_prefix={failures}/"),
        ]
    ended = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"RUST_BACKTRACE": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    number = re.search(r"stat::number_of_executed_units: (\d+)", ended.stdout)
    executed[target] += int(number[1]) if number else 0
    _say(f"{target}: {executed[target]:,} executions, exit status {ended.returncode}")
    if ended.returncode:
        _say(ended.stdout[-3_000:])
        for path in failures.glob("*"):
            shutil.copy(path, kept)
    return not ended.returncode


def _record(executed: Counter[str], failed: list[str]) -> None:
    record(RESULTS, {"executions": dict(executed), "failed": failed})
    lines = [json.loads(one) for one in RESULTS.read_text().splitlines()]
    total = sum(sum(one["executions"].values()) for one in lines)
    _say(f"in all: {total:,} executions")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
