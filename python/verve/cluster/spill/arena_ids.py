"""The ids of a frozen window, in pieces: from the counter's arena, or from its spill."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from verve._verve import SettingError, VerveError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from verve._verve import Counter

PIECE = 8_192
"""Ids that are read and sent at once: a few milliseconds of the leader's thread."""


class GoneError(VerveError):
    """The ids of a window are not kept any more."""


class Ids(Protocol):
    """The ids of a window; reading may go on at any position, also after an error."""

    @property
    def count(self) -> int:
        """How many there are."""
        ...

    def read(self, position: int) -> tuple[Mapping[int, Sequence[bytes]], int | None]:
        """A piece by shard, from `position` on (0 at first), and where the next begins.

        Raises `GoneError`.
        """
        ...


class ArenaIds:
    """Those that the counter holds."""

    def __init__(self, counter: Counter, window_start: int, count: int) -> None:
        self._counter = counter
        self._window_start = window_start
        self.count = count

    def read(self, position: int) -> tuple[Mapping[int, Sequence[bytes]], int | None]:
        """See `Ids`."""
        try:
            groups, following = self._counter.read_ids(self._window_start, position, PIECE)
        except SettingError as error:
            raise GoneError(f"{error}") from None
        by_shard: dict[int, list[bytes]] = {}
        for shard, members in groups:
            by_shard.setdefault(shard, []).extend(members)
        return by_shard, following
