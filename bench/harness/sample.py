"""A measurement of a contender, and what a contender is.

What is wrong in a sample, above all a count, stands in its `problems`; the report leaves such a
sample out of the medians and says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Sample:
    """Figures by name, and what they were taken from."""

    figures: Mapping[str, float]
    problems: list[str]
    disturbed: float = 0.0
    """Cores that others had meanwhile, on average."""
    raw: Mapping[str, Any] = field(default_factory=dict)


class Contender(Protocol):
    """What can be measured again and again."""

    @property
    def name(self) -> str:
        """Its name in files and options; what is Verve begins with `verve`."""

    @property
    def title(self) -> str:
        """Its name for a reader."""

    @property
    def rounds(self) -> int | None:
        """In how many rounds it takes part, if not in all."""

    def prepare(self) -> None:
        """Build what it needs; raises `MissingError`."""

    def measure(self) -> Sample:
        """Measure once."""
