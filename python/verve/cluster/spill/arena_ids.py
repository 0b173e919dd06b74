"""The ids of a frozen window, read in pieces: the port, and the adapter of the arena."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from verve._verve import SettingError, VerveError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from verve._verve import Counter

PIECE = 8_192
"""Ids per read: a few milliseconds of the leader's thread."""


class GoneError(VerveError):
    """The ids of a window are no longer kept."""


class Ids(Protocol):
    """The ids of a window. Any position may be read again, also after an error."""

    @property
    def count(self) -> int:
        """The number of ids."""
        ...

    def read(self, position: int) -> tuple[Mapping[int, Sequence[bytes]], int | None]:
        """The ids by shard from `position` on (0 at first), and the next position; None at the end.

        Each id has 8 bytes, little-endian. Raises `GoneError`.
        """
        ...


class ArenaIds:
    """The ids in the counter's arena."""

    def __init__(self, counter: Counter, window_start: int, count: int) -> None:
        self._counter = counter
        self._window_start = window_start
        self.count = count

    def read(self, position: int) -> tuple[Mapping[int, Sequence[bytes]], int | None]:
        """See `Ids`."""
        try:
            piece = self._counter.retention.read_ids(self._window_start, position, PIECE)
        except SettingError as error:
            raise GoneError(f"{error}") from None
        by_shard: dict[int, list[bytes]] = {}
        for group in piece.groups:
            by_shard.setdefault(group.shard, []).extend(group.members)
        return by_shard, piece.following
