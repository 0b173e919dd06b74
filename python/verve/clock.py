"""Time and randomness, which tests and simulations replace."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Clocks, random numbers and waits; those of the machine by default."""

    monotonic: Callable[[], float] = time.monotonic
    """Seconds; the clock of all pauses and time limits."""
    wall_ns: Callable[[], int] = time.time_ns
    """Nanoseconds since the epoch."""
    random: random.Random = field(default_factory=random.SystemRandom)
    wait_for: Callable[[threading.Condition, Callable[[], bool], float], bool] = (
        threading.Condition.wait_for
    )
    """Waits until a predicate holds, for at most some seconds; returns whether it holds."""

    def wall(self) -> float:
        """Seconds since the epoch."""
        return self.wall_ns() / 1e9

    def backoff(self, longest: float) -> Backoff:
        """A backoff on this clock; its pauses are at most `longest` seconds."""
        return Backoff(longest=longest, monotonic=self.monotonic, uniform=self.random.uniform)


CLOCK = Clock()
"""The clock of the machine."""
