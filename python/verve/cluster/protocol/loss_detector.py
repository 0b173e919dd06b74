"""Noticing that Redis lost something, and being quiet until all hosts have noticed (rule 9)."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from verve.cluster.redis_state.hosts import HostLines
from verve.log import events

if TYPE_CHECKING:
    from collections.abc import Callable

    from verve.cluster.interfaces import Notices
    from verve.cluster.redis_state.hosts import HostLine
    from verve.cluster.redis_state.window_state import Record

QUIET_SECONDS = 2.0
# A break in the heartbeats that is longer leaves unknown who of the others was silent.
_BREAK_SECONDS = 2.5
_RECORDS = 256


class LossDetector:
    """What one leader sees of Redis from heartbeat to heartbeat."""

    def __init__(self, notices: Notices, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._notices = notices
        self._monotonic = monotonic
        self._quiet_until = 0.0
        self._epochs: str | None = None
        self._beat_at: float | None = None
        self._lines: HostLines | None = None
        self._missing: dict[str, HostLine] = {}
        self.in_touch_since = 0
        """Since when there was no break in the heartbeats, in Redis's milliseconds."""
        self.losses = 0
        """How often something was lost; whoever sees it rise has work to do again."""

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is to be published for now."""
        return self._monotonic() < self._quiet_until

    def completed(self, lines: HostLines) -> HostLines:
        """The lines, and those that were there before a loss and are not back.

        Two seconds may be too few for a host to come back: it is waited for until it is silent.
        """
        return HostLines(lines.now, {**self._missing, **lines.hosts}, lines.renewed)

    def heartbeat(self, lines: HostLines, epochs: str) -> None:
        """Note a heartbeat that got through, and what it found."""
        now = self._monotonic()
        if self._beat_at is None:
            self.in_touch_since = lines.now
            # A leader before may have died of what it noticed; who joins may join after a loss.
            self._quiet_until = now + QUIET_SECONDS
        elif now - self._beat_at > _BREAK_SECONDS:
            # The others may have been away as we were, and be about to come back.
            self.in_touch_since = lines.now
            self._quiet_until = max(self._quiet_until, now + QUIET_SECONDS)
        if self._beat_at is not None and not lines.renewed:
            self.lost("the line of this host was gone")
        if self._epochs is not None and self._epochs != epochs:
            self.lost("a master was restarted or replaced")
        self._beat_at, self._epochs, self._lines = now, epochs, lines
        for id in lines.hosts:
            self._missing.pop(id, None)

    def lost(self, what: str) -> None:
        """Note that Redis lost something."""
        if not self.is_quiet:
            self._notices.put(events.CLUSTER_DISTURBED, what=what)
        self.losses += 1
        if self._lines is not None:
            self._missing |= self._lines.hosts
        self._quiet_until = self._monotonic() + QUIET_SECONDS


class RecentRecords:
    """The records that this leader has seen of late, to be put back where they are lost."""

    def __init__(self) -> None:
        self._seen: OrderedDict[int, Record] = OrderedDict()

    def see(self, window_start: int, record: Record) -> None:
        """Remember a record, unless a higher one is known."""
        known = self._seen.get(window_start)
        if known is None or (record.revision, record.count) >= (known.revision, known.count):
            self._seen[window_start] = record
            self._seen.move_to_end(window_start)
        while len(self._seen) > _RECORDS:
            self._seen.popitem(last=False)

    def all(self) -> list[tuple[int, Record]]:
        """All that are remembered, by window."""
        return sorted(self._seen.items())
