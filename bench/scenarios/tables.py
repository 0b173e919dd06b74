"""The scenarios with tables, and their goals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.contenders.table import Table
from bench.scenarios.scenario import Goal, Plan, Price, Scenario

if TYPE_CHECKING:
    from bench.harness.sample import Contender

TABLES = {
    "verve": "verve-core",
    "verve-bare": "its table alone",
    "dashset": "DashSet",
    "papaya": "papaya",
    "scc": "scc",
    "mutex": "mutex round hashbrown",
    "go": "Go, sync.Map",
    "python": "Python, set and lock",
}
SLOW = {"papaya", "go", "python"}
"""Contenders that take several times as long: their large tables are measured less often."""
RATE = {"per_second": "operations/s"}
SINGLE = {**RATE, "ns": "ns per insert"}
"""In a figure of `ns`, the time of one thread."""
BARE = {"verve-bare"}
LARGE, SMALL = 5_000_000, 500_000
BATCHES = "Batches of 10,000 ids. Go's `sync.Map` cannot take many ids at once."


def tables(plan: Plan) -> list[Scenario]:
    """Return all scenarios with tables: twice as many operations as ids, in random order."""
    slow = 2 if plan.full else 1
    return [
        _single(LARGE, "10 M operations", slow),
        _single(LARGE, "10 M operations, two threads", slow, threads=2),
        _single(SMALL, "1 M operations", slow),
        _batch(LARGE, "10 M operations", slow),
        _batch(LARGE, "10 M operations, two threads", slow, threads=2),
        _batch(SMALL, "1 M operations", slow),
        *([_huge()] if plan.full else []),
        _growing(LARGE, "10 M operations", slow),
        _growing(SMALL, "1 M operations", slow),
        Scenario(
            "table-growing-batch",
            "Table, batches, from empty, 10 M operations",
            _each("growing-batch", slow, without=SLOW),
            RATE,
            [Goal(1.0, "dashset")],
            note=BATCHES,
        ),
        *_ours(),
        Scenario(
            "table-memory",
            "Table, memory, 5 M distinct ids, grown from empty",
            _each("memory", slow, without=set()),
            {"bytes_per_id": "bytes per id"},
            [Goal(40.0)],
            more_is_better=False,
            rounds=2,
        ),
    ]


def _each(
    operation: str, slow: int, threads: int = 1, distinct: int = LARGE, *, without: set[str]
) -> list[Contender]:
    """Return the tables; the slow ones take part in `slow` rounds."""
    return [
        Table(
            name,
            title,
            operation,
            threads,
            distinct,
            slow if name in SLOW and distinct == LARGE else None,
        )
        for name, title in TABLES.items()
        if name not in without and (operation == "single" or name not in BARE)
    ]


def _name(operation: str, distinct: int, threads: int) -> str:
    size = "-1m" if distinct == SMALL else ""
    return f"table-{operation}{size}{f'-{threads}' if threads > 1 else ''}"


def _single(distinct: int, title: str, slow: int, threads: int = 1) -> Scenario:
    without = {"papaya"} if threads > 1 else set()
    return Scenario(
        _name("single", distinct, threads),
        f"Table, one id at a time, memory in use before, {title}",
        _each("single", slow, threads, distinct, without=without),
        SINGLE,
        note="The table alone has the same buckets and the same probe, in private memory: no"
        " windows, no shared segment, no pins, no clock, and nothing of it outlives its process.",
        price=Price("crash safety and windows", "ns", part="verve-bare", beside="dashset"),
    )


def _batch(distinct: int, title: str, slow: int, threads: int = 1) -> Scenario:
    without = {"go"} if distinct == SMALL else {"go", "papaya"}
    return Scenario(
        _name("batch", distinct, threads),
        f"Table, batches, memory in use before, {title}",
        _each("batch", slow, threads, distinct, without=without),
        RATE,
        [Goal(6.0, "dashset")],
        note=BATCHES,
    )


def _growing(distinct: int, title: str, slow: int) -> Scenario:
    without = {"papaya"} if distinct == LARGE else set()
    return Scenario(
        _name("growing", distinct, 1),
        f"Table, one id at a time, from empty, {title}",
        _each("growing", slow, distinct=distinct, without=without),
        RATE,
        [Goal(1.0, "dashset")],
    )


def _huge() -> Scenario:
    return Scenario(
        "table-batch-100m",
        "Table, batches, memory in use before, 100 M operations",
        [Table("verve", TABLES["verve"], "batch", distinct=50_000_000)],
        RATE,
        rounds=1,
    )


def _ours() -> list[Scenario]:
    return [
        Scenario(
            "table-processes",
            "Table, batches, by two processes on one segment and by one",
            [
                Table("verve-two", "two processes", "processes", 2),
                Table("verve-one", "one process", "processes", 1),
            ],
            RATE,
            [Goal(1.6, "verve-one")],
        ),
        Scenario(
            "sealing",
            "Sealing, the whole time that the caller waits",
            [
                Table("verve", "10 M ids", "seal", distinct=10_000_000),
                Table("verve-1m", "1 M ids", "seal", distinct=1_000_000),
                Table("verve-100k", "100,000 ids", "seal", distinct=100_000),
            ],
            {"milliseconds": "ms"},
            [Goal(80.0)],
            more_is_better=False,
        ),
    ]
