"""The row groups of many files, and ranges of ids that fit into memory.

The ranges come from the statistics of the row groups, not from even steps: ids need not be spread
evenly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from verve.archive.errors import ArchiveError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from verve.archive.format.id_file import IdFile, ReadRanges, RowGroup

LOWEST, HIGHEST = -(2**63), 2**63 - 1
AT_ONCE = 16
"""Row groups that are decoded at once: 1 Mi ids, which a processor's cache may hold."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A file of ids to be read; of a roll-up only the ids in one of the parts of `mask`.

    `bits` replaces the parts of a file that has none, for a roll-up.
    """

    file: IdFile
    read: ReadRanges
    mask: int | None = None
    bits: int = 0

    def between(self, low: int, high: int) -> Iterator[tuple[NDArray[np.int64], int]]:
        """The ids from `low` to `high` in parts, and how many of them the file has in that range.

        Without a mask these are as many.
        """
        groups = self.file.between(low, high)
        for first in range(groups.start, groups.stop, AT_ONCE):
            some = slice(first, min(first + AT_ONCE, groups.stop))
            if self.mask is None:
                ids = _cut(self.file.ids(some, self.read), low, high)
                yield ids, len(ids)
            else:
                ids, parts = self.with_parts(some, low, high)
                yield ids[parts & np.int64(_signed(self.mask)) != 0], len(ids)

    def with_parts(
        self, groups: slice, low: int, high: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The ids of row groups from `low` to `high`, and their parts."""
        ids, parts = self.file.ids_and_parts(groups, self.read)
        begin, end = np.searchsorted(ids, low), np.searchsorted(ids, high, "right")
        return ids[begin:end], parts[begin:end]


class Ranges:
    """Divides all ids into ranges, each with about `capacity` ids of the files at most."""

    def __init__(self, pieces: Sequence[Piece], capacity: int) -> None:
        groups = [group for piece in pieces for group in piece.file.groups]
        self.rows = sum(group.rows for group in groups)
        self._capacity = capacity
        self._rows = _column(groups, "rows").astype(np.float64)
        self._low = _column(groups, "low")
        self._high = _column(groups, "high")

    def end_of(self, low: int) -> int:
        """The end of the range that begins with `low`, inclusive."""
        if self.rows <= self._capacity:
            return HIGHEST
        before = self._below(low - 1) if low > LOWEST else 0.0
        if self._rows.sum() - before <= self._capacity:
            return HIGHEST
        # Not only where row groups end: files of as many ids have their groups at the same places.
        end, last = low, HIGHEST - 1
        while end < last:
            middle = (end + last + 1) // 2
            if self._below(middle) - before <= self._capacity:
                end = middle
            else:
                last = middle - 1
        return end

    def _below(self, id: int) -> float:
        """About how many ids are at most `id`, as if each row group were even."""
        low = self._low.astype(np.float64)
        width = self._high.astype(np.float64) - low + 1
        share = (float(id) - low + 1) / np.maximum(width, 1)
        return float((self._rows * share.clip(0, 1)).sum())


class TooManyError(ArchiveError):
    """A range has more ids than the memory holds; `middle` is an id amid some of them."""

    def __init__(self, middle: int) -> None:
        super().__init__("a range of ids does not fit into memory")
        self.middle = middle


def _cut(ids: NDArray[np.int64], low: int, high: int) -> NDArray[np.int64]:
    return ids[np.searchsorted(ids, low) : np.searchsorted(ids, high, "right")]


def _column(groups: Sequence[RowGroup], name: str) -> NDArray[np.int64]:
    return np.fromiter((getattr(group, name) for group in groups), np.int64, len(groups))


def _signed(bits: int) -> int:
    """64 bits as the number that a signed column holds."""
    return bits - 2**64 if bits >= 2**63 else bits
