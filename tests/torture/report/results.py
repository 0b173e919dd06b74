"""The recorded runs: one line of JSON each. A figure is the sum over the lines."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent.parent / "results.jsonl"

SUMS = (
    "seconds",
    "rounds",
    "windows",
    "exact",
    "wrong",
    "missing",
    "lost",
    "ids",
    "singles",
    "batches",
    "bad",
    "unanswered",
    "callbacks",
    "stream_events",
    "pages",
    "kills",
    "faults",
    "problems",
)
"""Figures of a line that are added up."""


@dataclass(slots=True)
class Totals:
    """The sums."""

    sums: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    recoveries: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Seconds by kind of fault."""
    left_out: set[str] = field(default_factory=set)
    next_seed: int = 1


def append(line: dict[str, Any], path: Path = RESULTS) -> None:
    """Add the line of a run."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def lines(path: Path = RESULTS) -> list[dict[str, Any]]:
    """All lines."""
    return [json.loads(one) for one in path.read_text().splitlines()] if path.exists() else []


def totals(found: list[dict[str, Any]]) -> Totals:
    """Add lines up."""
    made = Totals(runs=len(found))
    seen: set[str] = set()
    for line in found:
        made.sums.update({name: line[name] for name in SUMS})
        for kind, seconds in line["recoveries"].items():
            made.recoveries[kind] += seconds
            seen.add(kind)
        made.left_out |= set(line["left_out"])
        made.next_seed = max(made.next_seed, line["first_seed"] + line["rounds"])
    made.left_out -= seen
    return made
