"""Ids in sets, 16 per window: each id counts once, however often and by whichever host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verve._verve import SHARDS

from .address import Topology
from .base import MARKER_BYTES, RETENTION_SECONDS, StoreCount, StoreError, number, parse_reply
from .client import packed
from .redis_store import RedisStore

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from .client import RedisClient

_AT_ONCE = 10_000
"""The most members of a command: Redis serves no other client meanwhile."""
_SHARDS_KNOWN = 1_024
# Atomic, so that a marker is subtracted if and only if it was counted. Markers are in a set of
# their own too, since the caller may not know one yet.
# Ids without marks are what Redis left of a shard: nobody knows how many of them are markers, so it
# counts as empty, and its hosts find their markers gone.
# KEYS: ids, marks. ARGV: the markers that the caller asks for.
_COUNT = f"""
local whole = redis.call('EXISTS', KEYS[2]) == 1
local known, present, strangers = {{}}, {{}}, 0
for i, marker in ipairs(ARGV) do
  known[marker] = true
  present[i] = whole and redis.call('SISMEMBER', KEYS[1], marker) or 0
end
if not whole then return {{0, present}} end
for _, marker in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  -- Anything else might be an id, which counts.
  if #marker == {MARKER_BYTES} and not known[marker] then
    strangers = strangers + redis.call('SISMEMBER', KEYS[1], marker)
  end
end
return {{redis.call('SCARD', KEYS[1]) - strangers, present}}
"""
# The first marker begins the shard anew. No ids are missed by that: without a marker from before
# them, their hosts send all again.
# KEYS: ids, marks. ARGV: the marker, when the keys expire.
_MARK = """
if redis.call('EXISTS', KEYS[2]) == 0 then redis.call('UNLINK', KEYS[1]) end
redis.call('SADD', KEYS[2], ARGV[1])
redis.call('SADD', KEYS[1], ARGV[1])
redis.call('EXPIREAT', KEYS[1], ARGV[2])
redis.call('EXPIREAT', KEYS[2], ARGV[2])
return 1
"""


class RedisSets(RedisStore):
    """The strategy `sets`: exact. Adding is idempotent, so ids may be sent again."""

    name = "sets"

    def __init__(
        self, client: RedisClient, cluster: str, seconds: int, keep: int = RETENTION_SECONDS
    ) -> None:
        """See `RedisStore`."""
        super().__init__(client, cluster, seconds, keep)
        self._expiring: set[tuple[int, int]] = set()

    async def add(self, window_start: int, groups: Mapping[int, Sequence[bytes]]) -> None:
        """Add ids to a window. It is safe to repeat."""
        # A set without members does not exist, and cannot expire.
        groups = {shard: members for shard, members in groups.items() if members}
        if not groups:
            return
        keys = {shard: self._key(window_start, shard) for shard in groups}
        news = [shard for shard in groups if (window_start, shard) not in self._expiring]
        try:
            if self._client.address.topology is Topology.CLUSTER:
                await self._add_by_nodes(window_start, groups, keys, news)
            else:
                await self._add_packed(window_start, groups, keys, news)
        except StoreError:
            # Redis may come back empty.
            self._expiring.clear()
            raise
        self._note(window_start, news)

    async def _add_packed(
        self,
        window_start: int,
        groups: Mapping[int, Sequence[bytes]],
        keys: Mapping[int, str],
        news: Iterable[int],
    ) -> None:
        commands = [
            _sadd(keys[shard].encode(), part)
            for shard, members in groups.items()
            for part in _parts(members)
        ]
        expiry = b"%d" % self._expiry(window_start)
        commands += [packed(b"EXPIREAT", keys[shard].encode(), expiry) for shard in news]
        await self._client.send(commands)

    async def _add_by_nodes(
        self,
        window_start: int,
        groups: Mapping[int, Sequence[bytes]],
        keys: Mapping[int, str],
        news: Iterable[int],
    ) -> None:
        async with (
            self._client.call(),
            self._client.redis.pipeline(transaction=False) as pipeline,
        ):
            for shard, members in groups.items():
                for part in _parts(members):
                    pipeline.sadd(keys[shard], *part)
            for shard in news:
                pipeline.expireat(keys[shard], self._expiry(window_start))
            await pipeline.execute()

    def _note(self, window_start: int, shards: Iterable[int]) -> None:
        """Remember sets whose expiry is set: once is enough, unless Redis loses them.

        The completion of the window notices that, and its marker sets the expiry again.
        """
        self._expiring |= {(window_start, shard) for shard in shards}
        if len(self._expiring) > _SHARDS_KNOWN:
            self._expiring = {known for known in self._expiring if known[0] == window_start}

    async def mark(self, window_start: int, marker: bytes) -> None:
        """Add a marker to every shard of a window."""
        expiry = self._expiry(window_start)
        await self._client.run_for_each(_MARK, self._all_keys(window_start), [marker, expiry])

    async def count(self, window_start: int, markers: Collection[bytes]) -> StoreCount:
        """Count the ids of a window. `markers`: those that may be among them."""
        known = list(markers)
        looks = await self._client.run_for_each(_COUNT, self._all_keys(window_start), known)

        def read() -> StoreCount:
            ids, everywhere = 0, set(known)
            for members, answers in looks:
                pairs = zip(known, answers, strict=True)
                present = {marker for marker, is_there in pairs if number(is_there, 1)}
                ids += number(number(members) - len(present))
                everywhere &= present
            return StoreCount(ids, frozenset(everywhere))

        return parse_reply(read, looks)

    def _expiry(self, window_start: int) -> int:
        return window_start + self._seconds + self._keep

    def _all_keys(self, window_start: int) -> list[list[str]]:
        """Two sets per shard: its ids with the markers among them, and the markers."""
        ids = [self._key(window_start, shard) for shard in range(SHARDS)]
        return [[key, f"{key.removesuffix('ids')}marks"] for key in ids]

    def _key(self, window_start: int, shard: int) -> str:
        return f"verve:{{{self._cluster}:{self._seconds}:{window_start}:{shard}}}:ids"


def _sadd(key: bytes, members: Sequence[bytes]) -> bytes:
    """`SADD`, packed. All members are of one length."""
    size = b"\r\n$%d\r\n" % len(members[0])
    head = b"*%d\r\n$4\r\nSADD\r\n$%d\r\n%s" % (len(members) + 2, len(key), key)
    return head + size + size.join(members) + b"\r\n"


def _parts(members: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(members), _AT_ONCE):
        yield members[start : start + _AT_ONCE]
