"""Windows whose record changed, for the hosts that have done with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verve.stores.base import RETENTION_SECONDS

if TYPE_CHECKING:
    from .keys import Keys
    from .ports import Client

# Clocks of masters differ, and a note comes a little after what it tells of.
OVERLAP_MILLISECONDS = 10_000

# ARGV: window, seconds that notes are kept.
_NOTE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - ARGV[2] * 1000))
redis.call('EXPIRE', KEYS[1], ARGV[2])
return now
"""

# ARGV: milliseconds.
_SINCE = """
return redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[1], '+inf', 'WITHSCORES')
"""


class Changes:
    """The sorted set `changed`. Each call is one script; raises `StoreError`."""

    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._seen: dict[int, int] = {}
        self._since = 0

    async def note(self, window_start: int) -> None:
        """Tell all hosts to look at a window."""
        args = [window_start, RETENTION_SECONDS]
        await self._client.run(_NOTE, [self._keys.changed], args)

    async def news(self) -> list[int]:
        """The windows that were noted since the last call; at first, all of a day."""
        found = await self._client.run(_SINCE, [self._keys.changed], [self._since])
        notes = {
            int(window): int(float(at)) for window, at in zip(found[::2], found[1::2], strict=True)
        }
        news = [window for window, at in notes.items() if self._seen.get(window) != at]
        if notes:
            self._since = max(self._since, max(notes.values()) - OVERLAP_MILLISECONDS)
        self._seen = notes
        return sorted(news)
