"""A Python set with a lock, measured like the tables in Rust.

    python bench/table/python_set.py OPERATION [THREADS [DISTINCT]]

Operations are single, batch, growing, growing-batch and memory. What they mean stands in
src/main.rs, and so does the form of the result. A batch takes the lock once for 10,000 ids.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

BATCH = 10_000
OPERATIONS = ("single", "batch", "growing", "growing-batch", "memory")


class LockedSet:
    """A set that threads may share."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: set[int] = set()

    def add(self, id: int) -> bool:
        """Add `id` and return whether it was new."""
        with self._lock:
            before = len(self._seen)
            self._seen.add(id)
            return len(self._seen) != before

    def add_many(self, ids: Sequence[int]) -> int:
        """Add `ids` and return how many were new."""
        with self._lock:
            before = len(self._seen)
            self._seen.update(ids)
            return len(self._seen) - before

    def empty(self) -> None:
        """Forget all ids; the interpreter keeps some of the memory."""
        self._seen.clear()

    def __len__(self) -> int:
        return len(self._seen)


def ids(operations: int, distinct: int) -> list[int]:
    """Return ids, `distinct` of them different, evenly often and in random order."""
    numbers = np.arange(operations, dtype=np.uint64) % np.uint64(distinct)
    # The finalizer of SplitMix64: one to one, and it wraps.
    mixed = numbers * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    np.random.default_rng(1).shuffle(mixed)
    found: list[int] = mixed.view(np.int64).tolist()
    return found


def insert(table: LockedSet, all_ids: Sequence[int], threads: int, *, batch: bool) -> int:
    """Add all ids, shared among threads, and return the number of new ones."""
    share = -(-len(all_ids) // threads)
    shares = [all_ids[start : start + share] for start in range(0, len(all_ids), share)]
    added = [0] * len(shares)

    def work(number: int) -> None:
        mine = shares[number]
        if batch:
            parts = (mine[start : start + BATCH] for start in range(0, len(mine), BATCH))
            added[number] = sum(map(table.add_many, parts))
        else:
            added[number] = sum(map(table.add, mine))

    workers = [threading.Thread(target=work, args=(number,)) for number in range(len(shares))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(added)


def measure(operation: str, threads: int, distinct: int) -> dict[str, Any]:
    """Return the result of an operation."""
    all_ids = ids(2 * distinct, distinct)
    table = LockedSet()
    batch = operation in {"batch", "growing-batch"}
    if operation in {"single", "batch"}:
        insert(table, all_ids, 1, batch=True)
        table.empty()
    resident = resident_bytes()
    began = time.perf_counter()
    added = insert(table, all_ids, threads, batch=batch)
    seconds = time.perf_counter() - began
    result: dict[str, Any] = {
        "count": len(table),
        "right": added == len(table) == distinct,
        "table": "set",
        "operation": operation,
        "threads": threads,
        "distinct": distinct,
    }
    if operation == "memory":
        taken = resident_bytes() - resident
        return {**result, "bytes": taken, "bytes_per_id": taken / distinct}
    return {**result, "seconds": seconds, "per_second": len(all_ids) / seconds}


def resident_bytes() -> int:
    """Return the resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def main() -> int:
    """Print the result; return 1 when the count is wrong."""
    operation, threads, distinct = (*sys.argv[1:], *("", "1", "5000000")[len(sys.argv) - 1 :])
    if operation not in OPERATIONS:
        print(f"usage: python_set.py {'|'.join(OPERATIONS)} [THREADS [DISTINCT]]", file=sys.stderr)
        return 2
    result = measure(operation, int(threads), int(distinct))
    print(json.dumps(result))
    return 0 if result["right"] else 1


if __name__ == "__main__":
    sys.exit(main())
