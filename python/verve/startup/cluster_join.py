"""The entry of a host into its cluster, by the time of Redis or by that of its segment."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from verve._verve import boot_nanoseconds
from verve.cluster.protocol import clock
from verve.cluster.redis_state.hosts import ClusterError
from verve.cluster.replication.sender import IdSender
from verve.cluster.runtime.event_loop import run_on_loop
from verve.log import events
from verve.log.background import Notices
from verve.stores import StoreError, connect

from .attachment import attach, has_segment

if TYPE_CHECKING:
    from verve._verve import Counter
    from verve.config import Settings
    from verve.stores import RedisClient

ATTEMPTS = 3
ATTEMPTS_SECONDS = 4.0
"""Time for all attempts: a server that waits for its worker to start waits for them."""
_PAUSE_SECONDS = 0.1


def join(counter: Counter, settings: Settings) -> IdSender:
    """Take part in the cluster: keep ids for it. What is returned sends new ids once started."""
    counter.reference_clock.follow()
    counter.retention.enable()
    return IdSender(counter, settings, connect, Notices())


def attach_to_cluster(settings: Settings) -> Counter:
    """The counter of a host of a cluster; a segment that is made begins with the time of Redis.

    Raises `ClusterError` when neither Redis nor a segment knows the time of the cluster, and what
    `attach` raises.
    """
    # In a thread, since servers differ in whether a loop runs here.
    with ThreadPoolExecutor(1) as thread:
        redis = thread.submit(run_on_loop, _ask_redis(settings)).result()
    if redis.clock_offset is None and not has_segment(settings):
        raise _unknown_time(redis)
    counter = attach(settings, redis.clock_offset)
    if redis.clock_offset is None:
        if not counter.reference_clock.was_followed:
            counter.close()
            raise _unknown_time(redis)
        events.CLUSTER_TIME_KEPT.emit(error=redis.error)
    return counter


@dataclass(frozen=True, slots=True)
class _RedisTime:
    """The time of Redis, or why it is not known."""

    clock_offset: int | None = None
    """Nanoseconds that it is ahead of the boot clock."""
    error: str = ""


def _unknown_time(redis: _RedisTime) -> ClusterError:
    return ClusterError(
        "this host never had the time of its cluster, and Redis does not give it: "
        f"{redis.error}; hint: start hosts while Redis answers; a host that has counted in the "
        "cluster before starts without it"
    )


async def _ask_redis(settings: Settings) -> _RedisTime:
    """Ask Redis for its time, a few times, within `ATTEMPTS_SECONDS`."""
    error = ""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ATTEMPTS_SECONDS):
            for _ in range(ATTEMPTS):
                client, _store = connect(settings)
                try:
                    await _warn_of_eviction(client)
                    if (found := await clock.sample(client, boot_nanoseconds)) is not None:
                        return _RedisTime(found.offset)
                    error = "its answers take too long"
                except StoreError as failure:
                    error = str(failure)
                finally:
                    await client.close()
                await asyncio.sleep(_PAUSE_SECONDS)
    return _RedisTime(error=error or "no answer in time")


async def _warn_of_eviction(client: RedisClient) -> None:
    """Log a warning if Redis may evict ids. Raises `StoreError`."""
    policy = await client.eviction_policy()
    if policy not in {None, "noeviction"}:
        events.REDIS_EVICTS.emit(policy=policy)
