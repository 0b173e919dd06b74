"""How tests use a store: over any form of Redis, on a loop of its own, in a cluster of its own."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.support import rig
from verve import stores
from verve._verve import shard_of
from verve.stores.base import MARKER_BYTES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from tests.support.redis.server import RedisCluster, RedisServer, Sentinels
    from verve.stores import RedisClient, Store

    Place = RedisServer | RedisCluster | Sentinels

MINUTE = int(time.time()) // 60 * 60
MARKS = [b"v" + bytes([n]) * (MARKER_BYTES - 1) for n in range(5)]
_FIRST = b"m" * MARKER_BYTES
EDGES = [0, 1, -1, 2**63 - 1, -(2**63)]


class Redis(NamedTuple):
    """Where ids are kept, and how."""

    url: str
    strategy: str
    place: Place | None = None

    @property
    def servers(self) -> Sequence[RedisServer]:
        """All servers that keep data."""
        return [] if self.place is None else self.place.servers

    def connect(self, directory: Path, cluster: str, **flags: str) -> tuple[RedisClient, Store]:
        """A client and a store of a cluster of hosts."""
        named = {"redis_url": self.url, "redis_strategy": self.strategy, "cluster": cluster}
        return stores.connect(rig.settings(directory, **named, **flags))

    def use(self, directory: Path, cluster: str, **flags: str) -> Use:
        """A runner of tests with them."""
        return Use(lambda: self.connect(directory, cluster, **flags))


class Use:
    """Runs tests with a store, on an event loop of its own, and closes the store."""

    def __init__(self, connect: Callable[[], tuple[Any, Store]]) -> None:
        self._connect = connect

    def __call__(self, test: Callable[[Store], Awaitable[None]]) -> None:
        """Run it, within a minute."""
        self.with_client(lambda _client, store: test(store))

    def with_client(self, test: Callable[[Any, Store], Awaitable[None]]) -> None:
        """Run a test that also uses the client."""

        async def run() -> None:
            client, store = self._connect()
            try:
                async with asyncio.timeout(60):
                    await test(client, begun(store))
            finally:
                await store.close()

        asyncio.run(run())


def begun(store: Store) -> Store:
    """As leaders do, add a marker to each window before its ids: without any, none count."""
    add, marked = store.add, set[int]()

    async def add_behind_a_marker(window_start: int, groups: Mapping[int, Sequence[bytes]]) -> None:
        if window_start not in marked:
            await store.mark(window_start, _FIRST)
            marked.add(window_start)
        await add(window_start, groups)

    store.add = add_behind_a_marker  # type: ignore[method-assign]
    return store


def grouped(ids: Iterable[int]) -> dict[int, list[bytes]]:
    """Ids by shard, as a counter gives them."""
    found: dict[int, list[bytes]] = {}
    for id in ids:
        found.setdefault(shard_of(id), []).append(id.to_bytes(8, "little", signed=True))
    return found
