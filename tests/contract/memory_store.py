"""A store in memory: what any store has to do, in the plainest way, to compare with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verve.stores.base import SHARDS, Tally

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence


class MemoryStore:
    """The port `Store` on sets of Python."""

    name = "memory"

    def __init__(self) -> None:
        self._ids: dict[int, set[bytes]] = {}
        self._marks: dict[int, set[bytes]] = {}

    async def add(self, window_start: int, groups: Mapping[int, Sequence[bytes]]) -> None:
        """See the port."""
        assert all(0 <= shard < SHARDS for shard in groups)
        for members in groups.values():
            self._ids.setdefault(window_start, set()).update(members)

    async def mark(self, window_start: int, marker: bytes) -> None:
        """See the port."""
        self._marks.setdefault(window_start, set()).add(marker)

    async def tally(self, window_start: int, markers: Collection[bytes]) -> Tally:
        """See the port."""
        there = self._marks.get(window_start, set()) & set(markers)
        return Tally(len(self._ids.get(window_start, set())), frozenset(there))

    async def epochs(self) -> str:
        """See the port."""
        return "memory"

    async def close(self) -> None:
        """See the port."""
