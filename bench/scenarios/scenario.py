"""A question that is measured: its contenders, its figures and the goals for them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.harness.sample import Contender


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    full: bool
    seconds: float
    """Of a run under load."""
    rounds: int


@dataclass(frozen=True)
class Goal:
    """At least (rates) or at most (times, bytes) so much."""

    bound: float
    against: str = ""
    """A rival: the goal is in our figure divided by its; else in our figure."""
    figure: str = ""
    """Else the one that is compared."""


@dataclass(frozen=True)
class Scenario:
    """One question. The first of `columns` is the figure that is compared."""

    name: str
    title: str
    contenders: Sequence[Contender]
    columns: Mapping[str, str]
    goals: Sequence[Goal] = field(default_factory=list)
    more_is_better: bool = True
    rounds: int | None = None
    """At the most, where one more tells nothing new."""
    note: str = ""
    """What a reader must know besides."""
