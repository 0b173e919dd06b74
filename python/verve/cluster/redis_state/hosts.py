"""The host lines of a cluster, and the hosts that a window waits for (rule 4)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from verve._verve import VerveError
from verve.log import skipped
from verve.stores.base import RETENTION_SECONDS, field_pairs, number, parse_reply

from .keys import is_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from verve.cluster.interfaces import Client

    from .keys import Keys
    from .window_state import WindowState

PROTOCOL = 1
"""The version of this protocol. Hosts of other versions cannot count with this one."""
HEARTBEAT_SECONDS = 0.5
FRESH_MILLISECONDS = 2_500
"""An older line has missed heartbeats."""
SILENT_SECONDS = 60
SILENT_WINDOWS = 3
_FORGOTTEN_AT_ONCE = 1_000
# A heartbeat further ahead of the time is invalid. After a failover some are slightly ahead.
_AHEAD = RETENTION_SECONDS * 1_000
_PLACE = "the hosts in Redis"
# The field and the value of a host that is missing since a loss. Earlier builds skip the value.
_MISSING = "missing:"
_MISSING_LINE = "missing "
_LINE = re.compile(r"([0-9]{1,15}) ([!-~]{1,50})(?: (.*))?", re.DOTALL)
# The first part of an answer: whether the host had a line; None if it was refused one.
_KNOWN = {-1: None, 0: False, 1: True}
_REST = re.compile(
    r"(-?[0-9]{1,15}) ([0-9]{1,10}) (-?[0-9]{1,15}) ([0-9]{1,15}) ([!-~]{0,100}) (.{0,300})"
)

# A live host of another protocol keeps this one out, since neither understands the other.
# ARGV: host, protocol, the rest of the line, milliseconds after which a host is silent, `1` if this
# host had a line before.
_RENEW = f"""
local key = KEYS[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local known = redis.call('HEXISTS', key, ARGV[1])
if known == 0 and ARGV[5] == '0' then
  local lines = redis.call('HGETALL', key)
  for i = 2, #lines, 2 do
    local beat, protocol = string.match(lines[i], '^(%d+) (%S+)')
    -- A line that is none is nobody's.
    local age = beat and #beat <= 15 and now - tonumber(beat)
    if age and protocol ~= ARGV[2] and age <= tonumber(ARGV[4]) and -age <= {_AHEAD} then
      return {{-1, now, lines}}
    end
  end
end
redis.call('HSET', key, ARGV[1], string.format('%.0f ', now) .. ARGV[2] .. ' ' .. ARGV[3])
redis.call('HDEL', key, '{_MISSING}' .. ARGV[1])
redis.call('EXPIRE', key, {RETENTION_SECONDS})
return {{known, now, redis.call('HGETALL', key)}}
"""

_READ = """
local time = redis.call('TIME')
return {1, time[1] * 1000 + math.floor(time[2] / 1000), redis.call('HGETALL', KEYS[1])}
"""

# ARGV: hosts.
_FORGET = f"""
local lines = 0
for _, host in ipairs(ARGV) do
  lines = lines + redis.call('HDEL', KEYS[1], host)
  redis.call('HDEL', KEYS[1], '{_MISSING}' .. host)
end
return lines
"""

# A host that is back before its note is not missing. ARGV: hosts, each with its line.
_NOTE_MISSING = f"""
for i = 1, #ARGV, 2 do
  if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 0 then
    redis.call('HSET', KEYS[1], '{_MISSING}' .. ARGV[i], '{_MISSING_LINE}' .. ARGV[i + 1])
  end
end
return redis.call('EXPIRE', KEYS[1], {RETENTION_SECONDS})
"""


class ClusterError(VerveError):
    """This host cannot be part of the cluster."""


@dataclass(frozen=True, slots=True)
class HostLine:
    """The line of one host: its identity and its condition.

    `heartbeat` is the time of the last heartbeat in milliseconds. `first_window` is the start of
    the first window that it may have ids of; earlier windows do not wait for it. `unsent_windows`
    counts the windows whose ids are not all sent. `skew_ms` is how far its wall clock is ahead.
    `in_touch_since` is the time in milliseconds from which it has been in touch with Redis without
    a break; 0 if it does not know yet.
    """

    id: str
    heartbeat: int
    protocol: str
    first_window: int
    unsent_windows: int
    skew_ms: int
    in_touch_since: int
    version: str
    name: str

    @classmethod
    def read(cls, id: str, line: str) -> HostLine:
        """A line from Redis. Of another protocol only heartbeat and protocol are read.

        Raises `ValueError` if it is not a line.
        """
        found = _LINE.fullmatch(line)
        if found is None or not is_id(id):
            raise ValueError("not the line of a host")
        heartbeat, protocol, rest = int(found[1]), found[2], found[3] or ""
        if protocol != str(PROTOCOL):
            return cls(id, heartbeat, protocol, 0, 0, 0, 0, "", "")
        parts = _REST.fullmatch(rest)
        if parts is None or not parts[6].isprintable():
            raise ValueError("not the line of a host of this protocol")
        first_window, unsent, skew_ms, in_touch = map(int, parts.groups()[:4])
        return cls(
            id, heartbeat, protocol, first_window, unsent, skew_ms, in_touch, parts[5], parts[6]
        )

    @classmethod
    def of_missing(cls, id: str, now: int) -> HostLine:
        """The line of a host of which only the id is known: it may have ids of any window."""
        return cls(id, now, str(PROTOCOL), 0, 0, 0, 0, "", "")

    @property
    def written(self) -> str:
        """The line as it is in Redis."""
        rest = _rest(
            self.first_window, self.unsent_windows, self.skew_ms, self.in_touch_since, self
        )
        return f"{self.heartbeat} {self.protocol} {rest}"


@dataclass(frozen=True, slots=True)
class HostLines:
    """All lines, at Redis's time `now` in milliseconds. `renewed`: this host's existed before.

    `refused`: it was not written, since live hosts speak another protocol. `missing` has the last
    lines of hosts that were there before a loss, and are not back.
    """

    now: int
    hosts: Mapping[str, HostLine]
    renewed: bool = True
    missing: Mapping[str, HostLine] = field(default_factory=dict)
    refused: bool = False

    @classmethod
    def read(cls, found: tuple[int, int, list[bytes]]) -> HostLines:
        """The answer of a script, without unreadable lines. Raises `StoreError`."""
        known, now, fields = parse_reply(
            lambda: (_KNOWN[found[0]], number(found[1]), field_pairs(found[2])), found
        )
        hosts: dict[str, HostLine] = {}
        missing: dict[str, HostLine] = {}
        for id, line in fields:
            try:
                name, text, into = id.decode(), line.decode(), hosts
                if name.startswith(_MISSING) and text.startswith(_MISSING_LINE):
                    name, text = name.removeprefix(_MISSING), text.removeprefix(_MISSING_LINE)
                    into = missing
                host = HostLine.read(name, text)
            except ValueError:
                skipped.tell(_PLACE, id, line)
                continue
            if host.heartbeat - now <= _AHEAD:
                into[host.id] = host
            else:
                skipped.tell(_PLACE, id, line)
        return cls(now, hosts, known is not False, missing, refused=known is None)


@dataclass(frozen=True, slots=True)
class HostInfo:
    """The part of a host's line that does not change."""

    id: str
    name: str
    version: str


class HostTable:
    """The lines of a cluster. Each call is one script, and raises `StoreError`."""

    def __init__(self, client: Client, keys: Keys, info: HostInfo) -> None:
        """`info` is that of this host."""
        self._client = client
        self._keys = keys
        self._joined = False
        self.info = info
        self.silent_ms = 1_000 * max(SILENT_SECONDS, SILENT_WINDOWS * keys.seconds)

    async def renew(
        self, first_window: int, unsent_windows: int, skew_ms: int, in_touch_since: int
    ) -> HostLines:
        """Renew the line of this host; see `HostLine` for its parts.

        Raises `ClusterError` if live hosts speak another protocol.
        """
        line = _rest(first_window, unsent_windows, skew_ms, in_touch_since, self.info)
        found = await self._client.run(
            _RENEW,
            [self._keys.hosts],
            [self.info.id, PROTOCOL, line, self.silent_ms, int(self._joined)],
        )
        lines = HostLines.read(found)
        if lines.refused:
            others = sorted(
                f"{host.id} ({host.protocol})"
                for host in lines.hosts.values()
                if host.protocol != str(PROTOCOL) and lines.now - host.heartbeat <= self.silent_ms
            )
            raise ClusterError(
                f"hosts of the cluster speak another protocol than {PROTOCOL}: "
                f"`{', '.join(others)}`\nhint: install the release of those hosts here, or stop "
                "them first; to count apart from them, `verve serve --cluster ANOTHER`"
            )
        self._joined = True
        return lines

    async def read(self) -> HostLines:
        """All lines."""
        return HostLines.read(await self._client.run(_READ, [self._keys.hosts], []))

    async def leave(self) -> None:
        """Remove the line of this host, which stops."""
        self._joined = False
        await self.forget(self.info.id)

    async def note_missing(self, hosts: Iterable[HostLine]) -> None:
        """Note the last lines of hosts that a loss took, for leaders that did not see them."""
        # Of a line of another protocol only the front is known.
        known = [host for host in hosts if host.protocol == str(PROTOCOL)]
        if arguments := [word for host in known for word in (host.id, host.written)]:
            await self._client.run(_NOTE_MISSING, [self._keys.hosts], arguments)

    async def forget(self, *hosts: str) -> int:
        """Remove lines; how many there were. A live host puts its line back by itself."""
        found = await self._client.run(_FORGET, [self._keys.hosts], list(hosts))
        return parse_reply(lambda: number(found), found)

    async def forget_old(self, lines: HostLines) -> None:
        """Remove the lines of hosts that were silent for as long as ids are kept."""
        before = lines.now - RETENTION_SECONDS * 1_000
        every = (*lines.hosts.values(), *lines.missing.values())
        if old := [host.id for host in every if host.heartbeat < before]:
            await self.forget(*old[:_FORGOTTEN_AT_ONCE])


def _rest(
    first_window: int,
    unsent_windows: int,
    skew_ms: int,
    in_touch_since: int,
    host: HostInfo | HostLine,
) -> str:
    """The part of a line behind heartbeat and protocol."""
    numbers = f"{first_window} {unsent_windows} {skew_ms} {in_touch_since}"
    return f"{numbers} {host.version} {host.name}"


def awaited_hosts(
    window_start: int, state: WindowState, lines: HostLines, silent_ms: int, in_touch_since: int
) -> set[str]:
    """The hosts that the record of a window waits for (rule 4).

    `in_touch_since`: from when the caller has been in touch with Redis without a break, in
    milliseconds of Redis's time. Only hosts that were in touch all the time can tell which others
    were silent: the first host that is back after an outage must not take all others for dead.
    """
    known_since = min(
        [in_touch_since]
        + [
            host.in_touch_since
            for host in lines.hosts.values()
            if host.in_touch_since and lines.now - host.heartbeat <= FRESH_MILLISECONDS
        ]
    )

    def silent(host: HostLine) -> bool:
        return lines.now - max(host.heartbeat, known_since) > silent_ms

    alive = {
        host.id
        for host in lines.hosts.values()
        if host.first_window <= window_start and not silent(host)
    }
    # A host that registered and removed its line may have ids that were never sent.
    registered = {id for id in state.hosts if id not in lines.hosts or not silent(lines.hosts[id])}
    return alive | registered


def is_alive(host: str, lines: HostLines, silent_ms: int) -> bool:
    """Whether a host renewed its line within `silent_ms`."""
    line = lines.hosts.get(host)
    return line is not None and lines.now - line.heartbeat <= silent_ms
