"""Who waits until certain ids are in Redis (`VERVE_ACK=store`), and what to send for them next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future


class Group(NamedTuple):
    """Ids of one shard of a window, 8 bytes each."""

    window_start: int
    shard: int
    members: Sequence[bytes]


@dataclass(slots=True)
class _PendingAck:
    """One of them; what stands before place `at` of the group `group` is there already."""

    groups: Sequence[Group]
    told: Future[None]
    group: int = 0
    at: int = 0

    def piece(self, most: int) -> tuple[list[Group], int, int]:
        """The next ids, `most` at the most, and the place behind them."""
        found: list[Group] = []
        number, at = self.group, self.at
        while most > 0 and number < len(self.groups):
            window_start, shard, members = self.groups[number]
            part = members[at : at + most]
            found.append(Group(window_start, shard, part))
            most -= len(part)
            at += len(part)
            if at == len(members):
                number, at = number + 1, 0
        return found, number, at


class PendingAcks:
    """All who wait. A large batch goes piece by piece, so that nobody waits for another's."""

    def __init__(self) -> None:
        self._waits: list[_PendingAck] = []
        self._under_way: list[tuple[_PendingAck, int, int]] = []

    def __len__(self) -> int:
        return len(self._waits)

    def put(self, groups: Sequence[Group], told: Future[None]) -> None:
        """Someone waits; `told` is done when all of `groups` are there."""
        wait = _PendingAck([group for group in groups if group.members], told)
        if wait.groups:
            self._waits.append(wait)
        elif told.set_running_or_notify_cancel():
            told.set_result(None)

    def pieces(self, most: int) -> list[Group]:
        """Ids to send, `most` at the most; the same again until `sent` says that they are there."""
        # Who has given up is not sent for.
        self._waits = [wait for wait in self._waits if not wait.told.done()]
        self._under_way = []
        found: list[Group] = []
        share = max(1, most // max(1, len(self._waits)))
        for wait in self._waits[:most]:
            piece, group, at = wait.piece(share)
            found += piece
            self._under_way.append((wait, group, at))
        return found

    def sent(self) -> None:
        """What `pieces` gave last is there: tell those who have nothing left to wait for."""
        for wait, group, at in self._under_way:
            wait.group, wait.at = group, at
            if group == len(wait.groups) and wait.told.set_running_or_notify_cancel():
                wait.told.set_result(None)
        self._under_way = []
        self._waits = [wait for wait in self._waits if not wait.told.done()]
