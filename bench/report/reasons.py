"""Why Verve is slower somewhere: the table in `reasons.toml`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path


@dataclass(frozen=True)
class Reason:
    """A reason, with the scenarios and the rivals that it explains, as patterns."""

    scenarios: tuple[str, ...]
    against: str
    """The contender's name; empty for a goal in Verve's own figure."""
    decision: str
    """Anchor of the heading in docs/decisions.md that explains the reason."""
    why: str
    ours: str = "*"
    """The contender of Verve that it is about, as a pattern."""


def _read() -> tuple[Reason, ...]:
    table = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())
    return tuple(
        Reason(
            tuple(row["scenarios"]),
            row["against"],
            row["decision"],
            row["why"],
            row.get("ours", "*"),
        )
        for row in table["reason"]
    )


REASONS = _read()


def reason(scenario: str, against: str, ours: str) -> Reason | None:
    """The first reason that fits, if one is recorded."""
    for one in REASONS:
        if (
            fnmatch(against, one.against)
            and fnmatch(ours, one.ours)
            and any(fnmatch(scenario, it) for it in one.scenarios)
        ):
            return one
    return None
