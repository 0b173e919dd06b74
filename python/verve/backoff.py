"""Pauses between attempts at something that fails, and which failures to tell of."""

from __future__ import annotations

import random
import time


class Backoff:
    """Doubled each time up to a bound, with jitter, in seconds."""

    def __init__(self, first: float = 0.1, longest: float = 5.0) -> None:
        self._first = first
        self._longest = longest
        self._until = 0.0
        self.attempts = 0

    @property
    def remaining(self) -> float:
        """Seconds until the next attempt; 0 when it is due."""
        return max(0.0, self._until - time.monotonic()) if self.attempts else 0.0

    def failed(self) -> bool:
        """Note a failure; whether it is one to tell of (the first, and ever rarer ones)."""
        self.attempts += 1
        pause = min(self._longest, self._first * 2 ** min(self.attempts - 1, 16))
        self._until = time.monotonic() + pause * random.uniform(0.5, 1.0)  # noqa: S311
        return self.attempts & (self.attempts - 1) == 0

    def succeeded(self) -> int:
        """Note a success; how many attempts had failed before it."""
        failed, self.attempts = self.attempts, 0
        return failed
