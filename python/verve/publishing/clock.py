"""Time and randomness of publishing, which tests and simulations replace."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from verve.backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Two clocks in seconds, and a source of random numbers between two bounds."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    uniform: Callable[[float, float], float] = random.uniform

    def backoff(self, longest: float) -> Backoff:
        """A backoff on this clock; its pauses are at most `longest` seconds."""
        return Backoff(longest=longest, monotonic=self.monotonic, uniform=self.uniform)


CLOCK = Clock()
"""The clock of the machine."""
