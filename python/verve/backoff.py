"""Pauses between attempts at something that fails, and which of the failures to report."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Backoff:
    """A pause in seconds that doubles with each failure up to a bound, with jitter."""

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
        """Seconds until the next attempt; 0 when it is due."""
        return max(0.0, self._until - self._monotonic()) if self.attempts else 0.0

    def failed(self) -> bool:
        """Note a failure. Whether to report it: the first, the second, the fourth and so on."""
        self.attempts += 1
        pause = min(self._longest, self._first * 2 ** min(self.attempts - 1, 16))
        self._until = self._monotonic() + pause * self._uniform(0.5, 1.0)
        return self.attempts & (self.attempts - 1) == 0

    def succeeded(self) -> int:
        """Note a success; how many attempts had failed before it."""
        failed, self.attempts = self.attempts, 0
        return failed
