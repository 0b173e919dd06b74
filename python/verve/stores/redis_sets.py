"""Ids in sets: 16 a window, so that each is counted once, however often and by whom it is added."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from .base import RETENTION_SECONDS, SHARDS, Tally

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from .client import RedisClient

_AT_ONCE = 10_000
"""Members of a command at the most: Redis serves nobody else meanwhile."""
# As one step, so that a marker is counted if and only if it is told.
_TALLY = """
local present = {}
for i, marker in ipairs(ARGV) do present[i] = redis.call('SISMEMBER', KEYS[1], marker) end
return {redis.call('SCARD', KEYS[1]), present}
"""


class RedisSets:
    """The strategy `sets`: exact. Adding is idempotent, so whatever may be lost is sent again."""

    name = "sets"

    def __init__(self, client: RedisClient, cluster: str, seconds: int) -> None:
        """`seconds`: the length of a window."""
        self._client = client
        self._cluster = cluster
        self._seconds = seconds

    async def add(self, window_start: int, groups: Mapping[int, Sequence[bytes]]) -> None:
        """Add ids to a window; it is safe to repeat."""
        expiry = window_start + self._seconds + RETENTION_SECONDS
        with self._client.translated():
            async with self._client.redis.pipeline(transaction=False) as pipeline:
                for shard, members in groups.items():
                    key = self._key(window_start, shard)
                    for part in _parts(members):
                        pipeline.sadd(key, *part)
                    pipeline.expireat(key, expiry)
                await pipeline.execute()

    async def mark(self, window_start: int, marker: bytes) -> None:
        """Add a marker to every shard of a window."""
        await self.add(window_start, {shard: [marker] for shard in range(SHARDS)})

    async def tally(self, window_start: int, markers: Collection[bytes]) -> Tally:
        """Count a window's ids. `markers` are all that may be among them."""
        known = list(markers)
        looks = await asyncio.gather(
            *(
                self._client.run(_TALLY, [self._key(window_start, shard)], known)
                for shard in range(SHARDS)
            )
        )
        ids = sum(int(members) - sum(present) for members, present in looks)
        everywhere = (
            marker
            for place, marker in enumerate(known)
            if all(present[place] for _, present in looks)
        )
        return Tally(ids, frozenset(everywhere))

    async def epochs(self) -> str:
        """A word that changes with every restart and failover of a master that keeps ids."""
        return await self._client.epochs()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def _key(self, window_start: int, shard: int) -> str:
        return f"verve:{{{self._cluster}:{self._seconds}:{window_start}:{shard}}}:ids"


def _parts(members: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(members), _AT_ONCE):
        yield members[start : start + _AT_ONCE]
