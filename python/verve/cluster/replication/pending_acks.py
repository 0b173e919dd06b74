"""Requests that wait for Redis to acknowledge their ids (`VERVE_ACK=store`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from verve._verve import Group

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future


class Position(NamedTuple):
    """The id `at` of the group `group`; those before it are acknowledged."""

    group: int = 0
    at: int = 0


@dataclass(slots=True)
class _PendingAck:
    """One request. `acknowledged` is done when Redis has all of `groups`."""

    groups: Sequence[Group]
    acknowledged: Future[None]
    position: Position = Position()  # noqa: RUF009 - it is immutable

    def piece(self, most: int) -> tuple[list[Group], Position]:
        """The next ids, at most `most`, and the position after them."""
        found: list[Group] = []
        number, at = self.position
        while most > 0 and number < len(self.groups):
            window_start, shard, members = self.groups[number]
            part = members[at : at + most]
            found.append(Group(window_start, shard, part))
            most -= len(part)
            at += len(part)
            if at == len(members):
                number, at = number + 1, 0
        return found, Position(number, at)


class PendingAcks:
    """All waiting requests. Large batches go piece by piece, so that none holds up the others."""

    def __init__(self) -> None:
        self._pending: list[_PendingAck] = []
        self._under_way: list[tuple[_PendingAck, Position]] = []

    def __len__(self) -> int:
        return len(self._pending)

    def waiting(self) -> int:
        """The number of requests that wait. Any thread may call."""
        return sum(not one.acknowledged.done() for one in list(self._pending))

    def put(self, groups: Sequence[Group], acknowledged: Future[None]) -> None:
        """Add a request; `acknowledged` is done when Redis has all of `groups`."""
        pending = _PendingAck([group for group in groups if group.members], acknowledged)
        if pending.groups:
            self._pending.append(pending)
        elif acknowledged.set_running_or_notify_cancel():
            acknowledged.set_result(None)

    def pieces(self, most: int) -> list[Group]:
        """Ids to send, at most `most`; the same again until `sent` notes that they arrived."""
        # Nothing is sent for requests that gave up.
        self._pending = [one for one in self._pending if not one.acknowledged.done()]
        self._under_way = []
        found: list[Group] = []
        share = max(1, most // max(1, len(self._pending)))
        for one in self._pending[:most]:
            piece, position = one.piece(share)
            found += piece
            self._under_way.append((one, position))
        return found

    def sent(self) -> None:
        """Note that Redis has the last pieces, and answer the requests that are complete."""
        for one, position in self._under_way:
            one.position = position
            is_complete = position.group == len(one.groups)
            if is_complete and one.acknowledged.set_running_or_notify_cancel():
                one.acknowledged.set_result(None)
        self._under_way = []
        self._pending = [one for one in self._pending if not one.acknowledged.done()]
