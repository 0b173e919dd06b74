"""Measures the archive: `python -m bench.archive generate|count|compare|roll-up DIRECTORY`.

An hour of 36 M random ids in 60 files, beside DuckDB and chDB on one core:

    python -m bench.archive generate target/archive-hour --ids 36_000_000 --windows 60
    python -m bench.archive compare target/archive-hour --rounds 3

A day of 10^9 ids in 1,440 files. `generate` goes on where it was interrupted; it needs 6 GB:

    python -m bench.archive generate target/archive-day --ids 1_000_000_000 --windows 1_440
    python -m bench.archive count target/archive-day --memory 512 --limit 1_024

All ids are distinct, so the right count is known: id number i is i, mixed by a bijection. Each
count runs in a process of its own on one core, and prints its seconds and its largest memory.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from verve.archive.format.head import Head
from verve.archive.format.id_file_writer import write
from verve.archive.format.layout import FileName
from verve.archive.format.levels import DAY, HOUR, Level, hour_of
from verve.archive.format.manifest import Manifest, WindowEntry
from verve.archive.query.counting import Limits
from verve.archive.query.distinct import distinct
from verve.archive.query.span import Span
from verve.archive.store import open_store
from verve.archive.upkeep.roll_up import Host, roll_up_day, roll_up_hour

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

START = 1_764_460_800  # 2025-11-30T00:00:00Z
MINUTE = 60
HOST = "bench"


def mixed(first: int, count: int) -> NDArray[np.int64]:
    """The ids with the numbers from `first`: the last steps of splitmix64, a bijection."""
    found = np.arange(first, first + count, dtype=np.uint64)
    found ^= found >> np.uint64(30)
    found *= np.uint64(0xBF58476D1CE4E5B9)
    found ^= found >> np.uint64(27)
    found *= np.uint64(0x94D049BB133111EB)
    found ^= found >> np.uint64(31)
    return found.view(np.int64)


def generate(directory: Path, ids: int, windows: int, host: str = HOST) -> None:
    """Archive `ids` ids of `host` in `windows` minutes. What is there already stays."""
    store = open_store(directory)
    for hour in range(0, windows, 60):
        empty = Manifest(cluster="", host=host, segment=HOST, hour=hour_of(START + hour * MINUTE))
        here = {one.name for one in store.list(empty.name.rpartition("/")[0] + "/")}
        if empty.name in here:
            continue
        manifest = empty
        for number in range(hour, min(hour + 60, windows)):
            first = ids * number // windows
            count = ids * (number + 1) // windows - first
            put = _put(store, host, number, np.sort(mixed(first, count)))
            manifest = manifest.with_window(put)
            print(f"\r{number + 1} of {windows} windows", end="", file=sys.stderr, flush=True)
        # It comes last: an hour without a manifest is made again.
        store.put(manifest.name, manifest.to_json())
    size = sum(one.size for one in store.list(""))
    print(json.dumps({"ids": ids, "bytes": size, "bytes_per_id": round(size / ids, 3)}))


def _put(
    store: Any,  # noqa: ANN401 - a store
    host: str,
    number: int,
    ids: NDArray[np.int64],
) -> WindowEntry:
    start = START + number * MINUTE
    file = FileName(start, MINUTE, HOST, Level.MINUTE, "")
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "ids")
        contents = write(path, Head(file=file, host=host), ids)
        store.put(file.name, path)
    return WindowEntry.of_file(file, contents.rows, contents.digest, final=True)


def by_verve(directory: Path, memory: int) -> int:
    """Count the whole archive with Verve; `memory` in MiB."""
    store = open_store(directory)
    hours = {one.name.rpartition("/")[0] for one in store.list("cluster=host/level=minute/")}
    files = len([one for one in store.list("cluster=host/level=minute/") if "60s" in one.name])
    span = Span(START, START + (files * MINUTE if len(hours) == 1 else len(hours) * HOUR))
    answer = distinct(store, "", span, limits=Limits(memory=memory * 2**20))
    if not answer.complete:
        raise SystemExit(f"the archive is not complete: {answer.missing[:3]}")
    return answer.distinct


def by_duckdb(directory: Path, memory: int) -> int:
    """Count it with DuckDB on one thread; `memory` in MiB."""
    import duckdb  # noqa: PLC0415 - one of the contenders

    connection = duckdb.connect()
    connection.execute("SET threads = 1")
    connection.execute(f"SET memory_limit = '{memory}MiB'")
    connection.execute(f"SET temp_directory = '{directory}/.spill'")
    files = f"{directory}/cluster=host/level=minute/**/*.parquet"
    found = connection.execute(f"SELECT count(DISTINCT id) FROM read_parquet('{files}')")  # noqa: S608
    return int(found.fetchall()[0][0])


def by_chdb(directory: Path, memory: int) -> int:
    """Count it with chDB's `uniqExact` on one thread; `memory` in MiB."""
    import chdb  # noqa: PLC0415 - one of the contenders

    files = f"{directory}/cluster=host/level=minute/*/*/*.parquet"
    settings = f"max_threads = 1, max_memory_usage = {memory * 2**20}"
    query = f"SELECT uniqExact(id) FROM file('{files}', Parquet) SETTINGS {settings}"  # noqa: S608
    return int(str(chdb.query(query, "CSV")))


TOOLS: dict[str, Callable[[Path, int], int]] = {
    "verve": by_verve,
    "duckdb": by_duckdb,
    "chdb": by_chdb,
}


def count(directory: Path, tool: str, memory: int) -> None:
    """Count once, and print how long it took and the most memory that it had."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    began, used = time.perf_counter(), time.process_time()
    found = TOOLS[tool](directory, memory)
    result = {
        "tool": tool,
        "distinct": found,
        "seconds": round(time.perf_counter() - began, 2),
        "cpu_seconds": round(time.process_time() - used, 2),
        "largest_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    print(json.dumps(result), flush=True)


def run(directory: Path, tool: str, memory: int, limit: int) -> None:
    """Count in a process of its own, with `limit` MiB of address space for data; 0: no limit."""

    def bounded() -> None:
        if limit:
            resource.setrlimit(resource.RLIMIT_DATA, (limit * 2**20, limit * 2**20))

    command = [sys.executable, "-m", "bench.archive", "one", str(directory), "--tool", tool]
    environment = {
        **os.environ,
        "ARROW_DEFAULT_MEMORY_POOL": "system",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [*command, "--memory", str(memory)],
        env=environment,
        preexec_fn=bounded,
        check=False,
    )
    if done.returncode:
        print(json.dumps({"tool": tool, "failed": done.returncode}), flush=True)


def roll_up(directory: Path) -> None:
    """Roll up each hour, then the day, and print what each took."""
    store = open_store(directory)
    hours = sorted(
        {one.name.rpartition("/")[0] for one in store.list("cluster=host/level=minute/")}
    )
    with tempfile.TemporaryDirectory() as scratch:
        host = Host(cluster="", host=HOST, segment=HOST, scratch=Path(scratch))
        began = time.process_time()
        for number in range(len(hours)):
            roll_up_hour(store, host, START + number * HOUR)
        middle = time.process_time()
        if len(hours) == DAY // HOUR:
            roll_up_day(store, host, START)
        ended = time.process_time()
    sizes = {
        str(level): sum(one.size for one in store.list(f"cluster=host/level={level}/"))
        for level in Level
    }
    seconds = {"hours": round(middle - began, 2), "day": round(ended - middle, 2)}
    print(json.dumps({"cpu_seconds": seconds, "bytes": sizes}))


def main() -> None:
    """Run one of the commands."""
    parser = argparse.ArgumentParser(prog="bench.archive")
    parser.add_argument("command", choices=["generate", "count", "compare", "roll-up", "one"])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--ids", type=int, default=36_000_000)
    parser.add_argument("--windows", type=int, default=60)
    parser.add_argument("--tool", choices=TOOLS, default="verve")
    parser.add_argument("--memory", type=int, default=512, help="MiB")
    parser.add_argument("--limit", type=int, default=0, help="MiB")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    if given.command == "generate":
        generate(given.directory, given.ids, given.windows)
    elif given.command == "one":
        count(given.directory, given.tool, given.memory)
    elif given.command == "count":
        run(given.directory, given.tool, given.memory, given.limit)
    elif given.command == "roll-up":
        roll_up(given.directory)
    else:
        for _ in range(given.rounds):
            for tool in TOOLS:
                run(given.directory, tool, given.memory, given.limit)


if __name__ == "__main__":
    main()
