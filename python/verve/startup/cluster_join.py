"""How a worker becomes part of a cluster: with the time of Redis, or with that of its segment."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from verve._verve import boot_nanoseconds
from verve.cluster.protocol import clock
from verve.cluster.redis_state.hosts import ClusterError
from verve.cluster.replication.sender import IdSender
from verve.cluster.runtime.event_loop import run_on_loop
from verve.log import events
from verve.log.background import Notices
from verve.stores import StoreError, connect

from .attachment import attach, is_there

if TYPE_CHECKING:
    from verve._verve import Counter
    from verve.config import Settings
    from verve.stores import RedisClient

ATTEMPTS = 3
PATIENCE = 4.0
"""Seconds for all attempts: a server that waits for its worker to start waits for this."""


def join(counter: Counter, settings: Settings) -> IdSender:
    """Take part in the cluster: keep ids for it. What is returned sends new ids once started."""
    counter.follow_reference()
    counter.retain(True)  # noqa: FBT003 - it takes no name
    return IdSender(counter, settings, connect, Notices())


def attach_to_cluster(settings: Settings) -> Counter:
    """The counter of a host of a cluster; a segment that is made begins with the time of Redis.

    Raises `ClusterError` when neither Redis nor a segment knows the time of the cluster, and what
    `attach` raises.
    """
    # In a thread, since servers differ in whether a loop runs here.
    with ThreadPoolExecutor(1) as thread:
        offset, trouble = thread.submit(run_on_loop, _offset(settings)).result()
    if offset is None and not is_there(settings):
        raise _no_time(trouble)
    counter = attach(settings, clock_offset=offset)
    if not counter.has_reference and offset is None:
        counter.close()
        raise _no_time(trouble)
    if trouble is not None:
        events.CLUSTER_TIME_KEPT.emit(error=trouble)
    return counter


def _no_time(trouble: str | None) -> ClusterError:
    return ClusterError(
        f"this host never had the time of its cluster, and Redis does not tell it: {trouble}; "
        "hint: hosts start while Redis is there; one that has counted along goes on without"
    )


async def _offset(settings: Settings) -> tuple[int | None, str | None]:
    """Nanoseconds that Redis's time is ahead of the boot clock, or what the trouble is."""
    trouble: str | None = None
    try:
        async with asyncio.timeout(PATIENCE):
            for _ in range(ATTEMPTS):
                client, _store = connect(settings)
                try:
                    await _warn_of_eviction(client)
                    if (found := await clock.sample(client, boot_nanoseconds)) is not None:
                        return found.offset, None
                    trouble = "its answers take too long"
                except StoreError as error:
                    trouble = str(error)
                finally:
                    await client.close()
                await asyncio.sleep(0.1)
    except TimeoutError:
        trouble = trouble or "no answer in time"
    return None, trouble


async def _warn_of_eviction(client: RedisClient) -> None:
    """Say that ids may be dropped, where Redis would do so. Raises `StoreError`."""
    policy = await client.eviction_policy()
    if policy not in {None, "noeviction"}:
        events.REDIS_EVICTS.emit(policy=policy)
