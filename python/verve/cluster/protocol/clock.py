"""The time of all hosts: that of one Redis server, sampled against the counter's own clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from verve._verve import Counter
    from verve.cluster.interfaces import Client

SAMPLES = 5
LONGEST_TRIP = 50_000_000
"""Nanoseconds. A longer round trip says too little about the moment of the answer."""


@dataclass(frozen=True, slots=True)
class Sample:
    """`offset`: nanoseconds that Redis is ahead of the boot clock, within half of `trip`."""

    offset: int
    trip: int


async def sample(client: Client, boot: Callable[[], int], samples: int = SAMPLES) -> Sample | None:
    """The best of a few samples; None if all took too long. Raises `StoreError`.

    `boot` is the counter's clock, in nanoseconds. Redis answered somewhere between the question and
    the arrival of the answer. The middle is at most half of the round trip away from that moment,
    so the shortest trip wins.
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


def skew_ns(offset: int, boot: Callable[[], int], wall: Callable[[], int]) -> int:
    """Nanoseconds that the host's own wall clock is ahead of Redis's time."""
    return wall() - (boot() + offset)


def open_window(counter: Counter) -> int:
    """Start of the window of the present moment, whether or not there is an arena for it."""
    return int(counter.now()) // counter.window * counter.window
