"""The time of all hosts: that of one Redis, sampled against the counter's own clock."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from verve.cluster.interfaces import Client

SAMPLES = 5
LONGEST_TRIP = 50_000_000
"""Nanoseconds. What took longer says too little about when the answer was made."""
EVERY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Sample:
    """Nanoseconds that Redis is ahead of the boot clock, give or take half of `trip`."""

    offset: int
    trip: int


async def sample(client: Client, boot: Callable[[], int], samples: int = SAMPLES) -> Sample | None:
    """The best of a few samples; None if all took too long. Raises `StoreError`.

    `boot` is the counter's clock, in nanoseconds. The answer was made somewhere between asking and
    hearing it; the middle is at most half of the round trip away from that, so the shortest wins.
    """
    best: Sample | None = None
    for _ in range(samples):
        asked = boot()
        microseconds = await client.time_microseconds()
        heard = boot()
        found = Sample(microseconds * 1_000 - (asked + heard) // 2, heard - asked)
        if found.trip <= LONGEST_TRIP and (best is None or found.trip < best.trip):
            best = found
    return best


def skew_ns(offset: int, boot: Callable[[], int], wall: Callable[[], int] = time.time_ns) -> int:
    """Nanoseconds that the host's own wall clock is ahead of Redis's time."""
    return wall() - (boot() + offset)
