"""Notes on windows whose record changed, for hosts that no longer follow them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verve.log import skipped
from verve.stores.base import RETENTION_SECONDS, field_pairs, number, parse_reply

if TYPE_CHECKING:
    from verve.cluster.interfaces import Client

    from .keys import Keys

# The clocks of masters differ, and a note comes a little after its change.
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
local time = redis.call('TIME')
local found = redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[1], '+inf', 'WITHSCORES')
return {time[1] * 1000 + math.floor(time[2] / 1000), found}
"""


class Changes:
    """The sorted set `changed`. Each call is one script, and raises `StoreError`."""

    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._seen: dict[int, int] = {}
        self._since = 0

    async def note(self, window_start: int) -> None:
        """Note a window, so that all hosts look at it."""
        args = [window_start, RETENTION_SECONDS]
        await self._client.run(_NOTE, [self._keys.changed], args)

    async def news(self) -> list[int]:
        """The windows noted since the last call; those of a day at the first call."""
        found = await self._client.run(_SINCE, [self._keys.changed], [self._since])
        now, fields = parse_reply(lambda: (number(found[0]), field_pairs(found[1])), found)
        notes = {}
        for window, at in fields:
            try:
                # The window may be of another length, and unknown here.
                notes[number(window)] = int(float(at))
            except (ArithmeticError, ValueError):
                skipped.tell("the changes in Redis", window, at)
        news = [window for window, at in notes.items() if self._seen.get(window) != at]
        if notes:
            # A note from the future must not hide the notes until then.
            newest = min(now, max(notes.values()))
            self._since = max(self._since, newest - OVERLAP_MILLISECONDS)
        self._seen = notes
        return sorted(news)
