"""What is compared, with which figures to reach.

The first contender of a scenario is ours; each other one may have a goal: our figure divided by
its figure, at least (rates) or at most (times, bytes).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from contenders import Contender, Loaded, Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CONNECTIONS = ("--connections", "64")
"""Many more than workers."""
DUPLICATES = 10_000

RATE_COLUMNS = {"rate": "requests/s", "cpu_us": "CPU us each", "p99_ms": "p99 ms"}
LATENCY_COLUMNS = {
    "p99_ms": "p99 ms",
    "p50_ms": "p50 ms",
    "p99.9_ms": "p99.9 ms",
    "near_p99_ms": "p99 ms near boundaries",
    "away_p99_ms": "p99 ms away",
    "cpu_us": "CPU us each",
}


@dataclass(frozen=True)
class Scenario:
    """One question. The first of `columns` is the figure that is compared."""

    name: str
    title: str
    contenders: Sequence[Contender]
    columns: Mapping[str, str]
    goals: Mapping[str, float] = field(default_factory=dict)
    """By the contenders' names; our own name: a goal in the figure itself."""
    more_is_better: bool = True

    @property
    def figure(self) -> str:
        """The figure that is compared."""
        return next(iter(self.columns))


def scenarios(seconds: float) -> list[Scenario]:
    """All of them, with runs of so many seconds."""
    return [*accepts(seconds), latency(2 * seconds), *batches(seconds), *tables()]


def accepts(seconds: float) -> list[Scenario]:
    """Accepts as fast as they are answered, one worker on one core."""

    def contenders(names: Sequence[str], ids: str, *, within: bool) -> list[Contender]:
        arguments = (*CONNECTIONS, "--ids", ids)
        return [Loaded(name, arguments, seconds, within_window=within) for name in names]

    all_servers = ("verve", "static", "gin", "hyper", "verve-rsgi", "fastapi")
    counting = ("verve", "gin")
    return [
        Scenario(
            "accept-distinct",
            "Accept, distinct ids, one worker on one core",
            contenders(all_servers, "distinct", within=False),
            RATE_COLUMNS,
            {"static": 1.5, "gin": 2.0, "hyper": 0.75},
        ),
        Scenario(
            "accept-duplicates",
            f"Accept, the same {DUPLICATES:,} ids over and over",
            contenders(counting, f"duplicates:{DUPLICATES}", within=True),
            RATE_COLUMNS,
        ),
        Scenario(
            "accept-mixed",
            f"Accept, 90 % of {DUPLICATES:,} ids, 10 % new ones",
            contenders(counting, f"mixed:90/10:{DUPLICATES}", within=True),
            RATE_COLUMNS,
        ),
    ]


def latency(seconds: float) -> Scenario:
    """A constant rate, timed from the intended start, with boundaries inside."""
    window = max(2, round(seconds / 4))
    arguments = (*CONNECTIONS, "--rate", "10000")
    names = ("verve", "hyper", "gin", "static")
    return Scenario(
        "latency",
        f"Accept at a constant 10,000/s, windows of {window} s, p99 from the intended start",
        [Loaded(name, arguments, seconds, window=window) for name in names],
        LATENCY_COLUMNS,
        {"hyper": 2.0, "gin": 0.5},
        more_is_better=False,
    )


def batches(seconds: float) -> list[Scenario]:
    """Batches over HTTP."""
    columns = {"ids_rate": "ids/s", "cpu_us": "CPU us an id", "p99_ms": "p99 ms a batch"}

    def batch(kind: str) -> list[Contender]:
        arguments = ("--connections", "4", "--batch", kind, "--batch-size", "50000")
        return [Loaded("verve", arguments, seconds)]

    title = "Batches of 50,000 distinct ids over HTTP"
    goals = {"binary": {"verve": 5e6}, "json": {}, "text": {}}
    return [
        Scenario(f"batch-{kind}", f"{title}, {kind}", batch(kind), columns, goals[kind])
        for kind in goals
    ]


TABLES = {
    "verve": "verve-core",
    "dashset": "DashSet",
    "papaya": "papaya",
    "scc": "scc",
    "mutex": "mutex round hashbrown",
}
SLOW = {"papaya"}
"""Takes ten times as long as the others, so it is measured once and not in each scenario."""


def tables() -> list[Scenario]:
    """The table alone: 10,000,000 operations, each of 5,000,000 ids twice."""
    columns = {"per_second": "operations/s"}

    def each(operation: str, threads: int = 1) -> list[Contender]:
        slow = set() if (operation, threads) in {("single", 1), ("memory", 1)} else SLOW
        names = [name for name in TABLES if name not in slow]
        return [Table(name, TABLES[name], operation, threads) for name in names]

    def scenario(operation: str, title: str, goal: float, threads: int = 1) -> Scenario:
        name = f"table-{operation}" + (f"-{threads}" if threads > 1 else "")
        contenders = each(operation, threads)
        return Scenario(name, f"Table, {title}", contenders, columns, {"dashset": goal})

    return [
        scenario("single", "one id at a time, memory in use before", 2.0),
        scenario("single", "the same on two threads", 2.0, 2),
        scenario("batch", "batches, memory in use before", 6.0),
        scenario("batch", "the same on two threads", 6.0, 2),
        scenario("growing", "one id at a time, from empty", 1.0),
        scenario("growing-batch", "batches, from empty", 1.0),
        Scenario(
            "table-processes",
            "Table, batches, by two processes on one segment and by one",
            [
                Table("verve-two", "two processes", "processes", 2),
                Table("verve-one", "one process", "processes", 1),
            ],
            columns,
            {"verve-one": 1.6},
        ),
        Scenario(
            "table-memory",
            "Table, bytes an id, grown from empty",
            each("memory"),
            {"bytes_per_id": "bytes an id"},
            {"verve": 40.0},
            more_is_better=False,
        ),
        Scenario(
            "sealing",
            "Sealing 10,000,000 ids",
            [Table("verve", "verve-core", "seal", distinct=10_000_000)],
            {"milliseconds": "ms"},
            {"verve": 80.0},
            more_is_better=False,
        ),
    ]
