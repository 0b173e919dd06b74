"""Leaders race for the record of a window: one record per revision, whichever wins."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

from tests.support.cluster.in_process import EventRecorder, ids_key, link, run
from verve.cluster.protocol.loss_detector import LossDetector
from verve.cluster.protocol.markers import Markers, PlacedMarker, place_marker
from verve.cluster.protocol.record_committer import Attempt, RecordCommitter
from verve.cluster.redis_state.cluster_state import ClusterState
from verve.cluster.redis_state.hosts import HostInfo
from verve.cluster.redis_state.keys import Keys

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from tests.support.redis.server import RedisServer
    from verve.cluster.redis_state.window_state import Record
    from verve.stores.base import StoreCount


class Leader:
    """The part of one host's leader that commits records."""

    def __init__(self, server: RedisServer, cluster: str, name: str) -> None:
        self.told = EventRecorder()
        client, self.store = link(server.port, cluster)
        info = HostInfo(name, name, "1")
        self.cluster = ClusterState(client, self.store, Keys(cluster, 60), info)
        self.states = self.cluster.windows
        self.losses = LossDetector(self.told, time.monotonic)
        self.committer = RecordCommitter(
            self.cluster, self.losses, self.told, f"{name}.1", grace_ms=600_000
        )
        self.markers = Markers(name, 1)

    async def join(self, window: int) -> PlacedMarker:
        """Register, and put a marker in."""
        lines = await self.cluster.hosts.renew(window, 0, 0, 0)
        self.losses.heartbeat(lines, await self.store.epochs())
        # A host that joins is quiet for two seconds.
        self.losses._quiet_until = 0.0
        return await place_marker(self.cluster, self.markers, window)

    async def close(self, window: int, trust: PlacedMarker) -> None:
        """Be complete."""
        await self.states.complete(window, self.cluster.own_id, trust.marker, trust.epochs)

    async def publish(self, window: int) -> Record:
        """Try to commit until there is a record that holds all changes."""
        while True:
            state = await self.states.read(window)
            if state.record is not None and not state.asks_for_revision:
                return state.record
            await self.committer.attempt(window, state)
            await asyncio.sleep(random.uniform(0, 0.002))

    async def end(self) -> None:
        """Close the connection."""
        await self.cluster.close()


async def raced(server: RedisServer, cluster: str, rounds: int) -> None:
    """Have two leaders publish each window, and a late id ask for a revision of each."""
    pair = [Leader(server, cluster, "a" * 16), Leader(server, cluster, "b" * 16)]
    base = int(time.time()) // 60 * 60
    for number in range(rounds):
        window = base - 60 * (number % 1_000)
        trusts = [await leader.join(window) for leader in pair]
        for leader, trust, first in zip(pair, trusts, (0, 50), strict=True):
            await leader.store.add(window, members(range(first, first + 100)))
            await leader.close(window, trust)
        records = await asyncio.gather(*(leader.publish(window) for leader in pair))
        assert {(r.revision, r.count, r.complete) for r in records} == {(1, 150, True)}
        # One of them adds after that, and completes again: that is the next revision, once.
        late = random.choice(pair)
        trust = await place_marker(late.cluster, late.markers, window)
        await late.store.add(window, members(range(150, 151 + number % 3)))
        await late.close(window, trust)
        records = await asyncio.gather(*(leader.publish(window) for leader in pair))
        expected = 151 + number % 3
        assert {(r.revision, r.count, r.complete) for r in records} == {(2, expected, True)}
    for leader in pair:
        await leader.end()


def members(ids: range) -> dict[int, list[bytes]]:
    """Ids by some shard; which does not matter here."""
    groups: dict[int, list[bytes]] = {}
    for id in ids:
        groups.setdefault(id % 16, []).append(id.to_bytes(8, "little", signed=True))
    return groups


def test_two_leaders_make_one_record_a_revision(
    server: RedisServer, cluster: str, scale: Callable[[int], int]
) -> None:
    run(raced(server, cluster, scale(1_000)), timeout=500)


def test_a_late_host_is_waited_for_and_then_leads_to_a_revision(
    server: RedisServer, cluster: str
) -> None:
    async def main() -> None:
        window = int(time.time()) // 60 * 60 - 60
        a, b = Leader(server, cluster, "a" * 16), Leader(server, cluster, "b" * 16)
        trust_a, trust_b = await a.join(window), await b.join(window)
        await a.store.add(window, members(range(10)))
        await a.close(window, trust_a)
        state = await a.states.read(window)
        assert await a.committer.attempt(window, state) is Attempt.NOT_DUE
        # The grace is over.
        a.committer.grace_ms = b.committer.grace_ms = 0
        assert await a.committer.attempt(window, state) is Attempt.DONE
        record = (await a.states.read(window)).record
        assert record is not None
        assert (record.revision, record.count, record.complete) == (1, 10, False)
        assert "window.degraded" in a.told.names()
        await b.store.add(window, members(range(5, 20)))
        await b.close(window, trust_b)
        record = await b.publish(window)
        assert (record.revision, record.count, record.complete) == (2, 20, True)
        assert "window.revised" in b.told.names()
        await a.end()
        await b.end()

    run(main())


def test_a_publisher_that_stopped_after_its_look_commits_nothing(
    server: RedisServer, cluster: str
) -> None:
    async def main() -> None:
        window = int(time.time()) // 60 * 60 - 60
        a, b = Leader(server, cluster, "a" * 16), Leader(server, cluster, "b" * 16)
        trust_a, trust_b = await a.join(window), await b.join(window)
        await a.close(window, trust_a)
        await b.close(window, trust_b)
        looked, go_on = asyncio.Event(), asyncio.Event()
        tally = a.store.count

        async def slow(window_start: int, markers: Collection[bytes]) -> StoreCount:
            found = await tally(window_start, markers)
            looked.set()
            await go_on.wait()
            return found

        a.store.count = slow  # type: ignore[method-assign]
        state = await a.states.read(window)
        attempt = asyncio.create_task(a.committer.attempt(window, state))
        await looked.wait()
        # Three seconds later b takes over; ids of b came in between.
        await b.store.add(window, members(range(7)))
        with server.ask() as connection:
            connection.hset(b.states.keys.state(window), "token_until", 1)
        record = await b.publish(window)
        go_on.set()
        assert await attempt is Attempt.ELSEWHERE
        assert (await b.states.read(window)).record == record
        assert (record.revision, record.count) == (1, 7)
        await a.end()
        await b.end()

    run(main())


def test_a_lost_marker_sets_only_its_host_back(server: RedisServer, cluster: str) -> None:
    async def main() -> None:
        window = int(time.time()) // 60 * 60 - 60
        a, b = Leader(server, cluster, "a" * 16), Leader(server, cluster, "b" * 16)
        trust_a, trust_b = await a.join(window), await b.join(window)
        await a.close(window, trust_a)
        await b.close(window, trust_b)
        with server.ask() as connection:
            connection.srem(ids_key(Keys(cluster, 60), window, 9), trust_b.marker)
        state = await a.states.read(window)
        assert await a.committer.attempt(window, state) is Attempt.SET_BACK
        state = await a.states.read(window)
        assert state.hosts["a" * 16].complete
        assert not state.hosts["b" * 16].complete
        assert (state.record, state.token) == (None, None)
        await a.end()
        await b.end()

    run(main())
