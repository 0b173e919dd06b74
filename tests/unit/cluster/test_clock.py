"""The time of all hosts: samples, late replies, skew."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from verve import Counter, ManualClock
from verve.cluster.protocol.clock import LONGEST_TRIP, Sample, sample, skew_ns

if TYPE_CHECKING:
    from collections.abc import Sequence

MILLISECOND = 1_000_000


class Delayed:
    """A Redis that is `ahead` of the boot clock; of each trip it says how it is spent."""

    masters = ""

    def __init__(self, ahead: int, trips: Sequence[tuple[int, int]]) -> None:
        self.boot_ns = 5_000 * MILLISECOND
        self._ahead = ahead
        self._trips = iter(trips)

    def boot(self) -> int:
        """The counter's clock."""
        return self.boot_ns

    async def time_microseconds(self) -> int:
        """See the port."""
        there, back = next(self._trips)
        self.boot_ns += there
        answer = (self.boot_ns + self._ahead) // 1_000
        self.boot_ns += back
        return answer

    async def run(self, *_: Any) -> None:  # noqa: ANN401
        """See the port."""

    async def close(self) -> None:
        """See the port."""


def sampled(redis: Delayed, samples: int) -> Sample | None:
    return asyncio.run(sample(redis, redis.boot, samples))


def test_the_shortest_trip_wins() -> None:
    ahead = 1_800_000_000_000_000_000
    redis = Delayed(
        ahead,
        [(MILLISECOND, 30 * MILLISECOND), (MILLISECOND, MILLISECOND), (40 * MILLISECOND, 0)],
    )
    assert sampled(redis, 3) == Sample(ahead, 2 * MILLISECOND)


@pytest.mark.parametrize("there", [0, 1, 20, 49])
def test_an_offset_is_off_by_half_of_the_trip_at_most(there: int) -> None:
    redis = Delayed(0, [(there * MILLISECOND, (49 - there) * MILLISECOND)])
    found = sampled(redis, 1)
    assert found is not None
    assert abs(found.offset) <= found.trip // 2


def test_late_replies_say_nothing() -> None:
    late = LONGEST_TRIP
    assert sampled(Delayed(0, [(late, late)] * 4), 4) is None
    redis = Delayed(0, [(late, late), (1_000, 1_000), (late, late)])
    assert sampled(redis, 3) == Sample(0, 2_000)


def test_a_counter_follows_the_samples() -> None:
    clock = ManualClock(1_800_000_000)
    with Counter(max_ids=10, clock=clock) as counter:
        counter.reference_clock.follow()
        counter.lease.acquire()
        counter.reference_clock.steer(1_800_000_003_000_000_000 - counter.reference_clock.boot())
        assert counter.reference_clock.was_followed
        assert counter.now() == pytest.approx(1_800_000_003, abs=0.01)


def test_skew_is_how_far_the_wall_clock_is_ahead() -> None:
    assert skew_ns(1_000, boot=lambda: 50, wall=lambda: 1_250) == 200
