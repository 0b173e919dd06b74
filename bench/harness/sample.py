"""One measurement of one contender.

The faults of a sample, above all a wrong count, are its `problems`. The report names a sample with
problems and leaves it out of the medians.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Sample:
    """Figures by name, and the raw output that they come from."""

    figures: Mapping[str, float]
    problems: list[str]
    disturbed: float = 0.0
    """Cores that other programs used meanwhile, on average."""
    raw: Mapping[str, Any] = field(default_factory=dict)


class Contender(Protocol):
    """A program that can be measured again and again."""

    @property
    def name(self) -> str:
        """The name in files and options; that of Verve begins with `verve`."""

    @property
    def title(self) -> str:
        """The name for readers."""

    @property
    def rounds(self) -> int | None:
        """The number of rounds in which it takes part; `None` for all."""

    def prepare(self) -> None:
        """Build the programs that it needs, or raise `MissingError`."""

    def measure(self) -> Sample:
        """Take one sample."""
