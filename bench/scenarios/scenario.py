"""A scenario: one question, its contenders, its figures and its goals."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.harness.sample import Contender


@dataclass(frozen=True)
class Plan:
    """How long and how often a scenario is measured."""

    full: bool
    seconds: float
    """Seconds of load per sample."""
    rounds: int


@dataclass(frozen=True)
class Goal:
    """A bound of a figure: at least (rates) or at most (times, bytes).

    The scenario says which, unless `at_most` does.
    """

    bound: float
    against: str = ""
    """The rival whose figure divides that of Verve; empty for a bound of Verve's own figure."""
    figure: str = ""
    """The name of the figure; empty for the one that is compared."""
    at_most: bool | None = None
    """Whether less is better; `None` for what the scenario says."""


@dataclass(frozen=True)
class Price:
    """The figure of Verve less that of a part of it, beside the whole figure of a rival."""

    of: str
    """What is paid for."""
    figure: str
    part: str
    """The contender that lacks what is paid for."""
    beside: str


@dataclass(frozen=True)
class Scenario:
    """One question. Its first contender is Verve, with which the others are compared.

    The first of `columns` is the figure that is compared.
    """

    name: str
    title: str
    contenders: Sequence[Contender]
    columns: Mapping[str, str]
    goals: Sequence[Goal] = field(default_factory=list)
    more_is_better: bool = True
    rounds: int | None = None
    """The greatest useful number of rounds."""
    note: str = ""
    """What else a reader must know."""
    price: Price | None = None
    """What Verve costs beyond another contender, if that is the question."""
