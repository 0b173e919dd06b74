"""Detects that Redis lost something, and holds commits until all hosts have noticed (rule 9)."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING

from verve.cluster.redis_state.hosts import HostLine
from verve.log import events

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from verve.cluster.redis_state.hosts import HostLines
    from verve.cluster.redis_state.window_state import Record
    from verve.log.background import Notices

QUIET_SECONDS = 2.0
# After a longer break in the heartbeats, this host cannot tell which others were silent.
_BREAK_SECONDS = 2.5
_RECORDS = 256


class LossDetector:
    """What one leader learns about Redis from heartbeat to heartbeat."""

    def __init__(
        self, notices: Notices, monotonic: Callable[[], float], before: Collection[str] = ()
    ) -> None:
        """`before`: the hosts that an earlier leader saw, if that one did not leave."""
        self._notices = notices
        self._monotonic = monotonic
        self._before = before
        self._quiet_until = 0.0
        self._epochs: str | None = None
        self._heartbeat_at: float | None = None
        self._lines: HostLines | None = None
        self._missing: dict[str, HostLine] = {}
        self.in_touch_since = 0
        """The end of the last break in the heartbeats, in milliseconds of Redis's time."""
        self.losses = 0
        """How many losses were detected."""

    @property
    def is_quiet(self) -> bool:
        """Whether no record is to be committed for now."""
        return self._monotonic() < self._quiet_until

    def with_missing(self, lines: HostLines) -> HostLines:
        """The lines, and those from before a loss whose hosts are not back.

        A host may need more than two seconds to come back: it is waited for until it is silent.
        """
        return replace(lines, hosts={**self._missing, **lines.missing, **lines.hosts})

    def missing(self) -> tuple[HostLine, ...]:
        """The last lines of the hosts that were there before a loss and are not back."""
        return tuple(self._missing.values())

    def heartbeat(self, lines: HostLines, epochs: str) -> None:
        """Note a heartbeat that reached Redis, with the lines and the epochs that it read."""
        now = self._monotonic()
        if self._heartbeat_at is None:
            self.in_touch_since = lines.now
            # An earlier leader may have died of the loss; a host may join right after one.
            self._quiet_until = now + QUIET_SECONDS
            if self._before and not lines.renewed:
                # Redis forgot this host while it had no leader, and the other hosts with it.
                self._missing |= {id: HostLine.of_missing(id, lines.now) for id in self._before}
                self.lost("the line of this host was gone")
        elif now - self._heartbeat_at > _BREAK_SECONDS:
            # The other hosts may have been away too, and be about to come back.
            self.in_touch_since = lines.now
            self._quiet_until = max(self._quiet_until, now + QUIET_SECONDS)
        if self._heartbeat_at is not None and not lines.renewed:
            self.lost("the line of this host was gone")
        if self._epochs is not None and self._epochs != epochs:
            self.lost("a master was restarted or replaced")
        self._heartbeat_at, self._epochs, self._lines = now, epochs, lines
        # An earlier leader of this host may have seen them, or another host.
        self._missing |= lines.missing
        for id in lines.hosts:
            self._missing.pop(id, None)

    def see(self, lines: HostLines, own_id: str) -> None:
        """Note lines that were read between two heartbeats, before this host commits.

        Redis may have lost everything since the last one, the lines of the others too.
        """
        if self._heartbeat_at is not None and own_id not in lines.hosts:
            self.lost("the line of this host was gone")

    def lost(self, what: str) -> None:
        """Note that Redis lost something."""
        if not self.is_quiet:
            self._notices.put(events.CLUSTER_DISTURBED, what=what)
        self.losses += 1
        if self._lines is not None:
            self._missing |= self._lines.hosts
        self._quiet_until = self._monotonic() + QUIET_SECONDS


def _rank(record: Record) -> tuple[int, int, bool]:
    return record.revision, record.count, record.complete


class RecentRecords:
    """The records that this leader saw of late, to put back those that Redis loses."""

    def __init__(self) -> None:
        self._seen: OrderedDict[int, Record] = OrderedDict()

    def see(self, window_start: int, record: Record) -> None:
        """Remember a record, unless a higher one is known."""
        known = self._seen.get(window_start)
        if known is None or _rank(record) >= _rank(known):
            self._seen[window_start] = record
            self._seen.move_to_end(window_start)
        while len(self._seen) > _RECORDS:
            self._seen.popitem(last=False)

    def lost(self, window_start: int, record: Record) -> Record | None:
        """The record that was there before this one, which did not follow it: Redis lost it.

        It has a higher number, or the same one and another content.
        """
        known = self._seen.get(window_start)
        if known is None or known.revision < record.revision:
            return None
        same = (known.revision, known.count, known.complete) == (
            record.revision,
            record.count,
            record.complete,
        )
        return None if same else known

    def all(self) -> list[tuple[int, Record]]:
        """All remembered records with their windows, the oldest window first."""
        return sorted(self._seen.items())
