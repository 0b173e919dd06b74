"""Pauses between retries, and the choice of the failures to report."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Backoff:
    """A pause with jitter that doubles per failure, from `first` to at most `longest` seconds."""

    def __init__(
        self,
        first: float = 0.1,
        longest: float = 5.0,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._first = first
        self._longest = longest
        self._monotonic = monotonic
        self._uniform = uniform
        self._until = 0.0
        self.attempts = 0

    @property
    def remaining(self) -> float:
        """Seconds until the next attempt; 0 if it is due."""
        return max(0.0, self._until - self._monotonic()) if self.attempts else 0.0

    def failed(self) -> bool:
        """Record a failure; True if it is to be reported: the first, second, fourth, eighth etc."""
        self.attempts += 1
        pause = min(self._longest, self._first * 2 ** min(self.attempts - 1, 16))
        self._until = self._monotonic() + pause * self._uniform(0.5, 1.0)
        return self.attempts & (self.attempts - 1) == 0

    def succeeded(self) -> int:
        """Record a success, and return the number of failed attempts before it."""
        failed, self.attempts = self.attempts, 0
        return failed
