"""Keeps the counter's clock at the time of Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verve.cluster.protocol import clock

if TYPE_CHECKING:
    from verve._verve import Counter
    from verve.cluster.interfaces import Client
    from verve.cluster.runtime.machine import Machine


class ClockSync:
    """Samples the time of Redis once per step."""

    def __init__(self, counter: Counter, client: Client, machine: Machine) -> None:
        self._counter = counter
        self._client = client
        self._machine = machine
        self.has_run = False
        """Whether the first step is over."""
        self.skew_seconds: float | None = None
        """Seconds that the host's wall clock is ahead of Redis's time; None while unknown."""

    async def step(self) -> None:
        """Take samples, and steer the counter's clock by the best. Raises `StoreError`."""
        found = await clock.sample(self._client, self._counter.reference_clock.boot)
        if found is not None:
            self._counter.reference_clock.steer(found.offset)
            skew = clock.skew_ns(
                found.offset, self._counter.reference_clock.boot, self._machine.wall_ns
            )
            self.skew_seconds = skew / 1e9
        self.has_run = True
