"""One key per id, as the Go service did: for compatibility, and to compare with.

It may count too few ids without noticing. A host counts an id when Redis replies that its key is
new. If that reply is lost, the next reply says that the key exists. So all ids of a lost batch of
replies, at most `_BATCH_IDS`, can be missing. Sets have no such error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .base import StoreCount, number, parse_reply
from .redis_store import RedisStore

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence


_BATCH_IDS = 250
"""Ids per call: few enough for its deadline on a busy host, and for one lost reply."""


class RedisKeys(RedisStore):
    """The strategy `keys`: `SET <key of the id> 1 NX EX`, counted by the replies."""

    name = "keys"

    async def add(self, window_start: int, groups: Mapping[int, Sequence[bytes]]) -> None:
        """Add ids to a window. It is safe to repeat, but a lost reply makes the count too low."""
        ids = [int.from_bytes(m, "little", signed=True) for ms in groups.values() for m in ms]
        for start in range(0, len(ids), _BATCH_IDS):
            await self._add(window_start, ids[start : start + _BATCH_IDS])

    async def _add(self, window_start: int, ids: Sequence[int]) -> None:
        async with self._client.call():
            keep = self._seconds + self._keep
            pipeline = self._pipeline()
            for id in ids:
                pipeline.set(self._key(window_start, str(id)), 1, nx=True, ex=keep)
            if new := sum(reply is not None for reply in await pipeline.execute()):
                key = self._key(window_start, "count")
                pipeline = self._pipeline()
                pipeline.incrby(key, new)
                pipeline.expireat(key, window_start + keep)
                await pipeline.execute()

    async def mark(self, window_start: int, marker: bytes) -> None:
        """Add a marker under a key of its own."""
        async with self._client.call():
            key = self._key(window_start, f"marker:{marker.hex()}")
            await self._client.redis.set(key, 1, ex=self._seconds + self._keep)

    async def count(self, window_start: int, markers: Collection[bytes]) -> StoreCount:
        """The number of ids whose key was new, and which of `markers` are there."""
        known = list(markers)
        async with self._client.call():
            pipeline = self._pipeline()
            pipeline.get(self._key(window_start, "count"))
            for marker in known:
                pipeline.exists(self._key(window_start, f"marker:{marker.hex()}"))
            count, *present = await pipeline.execute()
        there = frozenset(m for m, found in zip(known, present, strict=True) if found)
        return StoreCount(parse_reply(lambda: number(count or 0), count), there)

    def _pipeline(self) -> Any:  # noqa: ANN401 - redis-py's
        return self._client.redis.pipeline(transaction=False)

    def _key(self, window_start: int, name: str) -> str:
        return f"verve:{{{self._cluster}:{self._seconds}:{window_start}}}:{name}"
