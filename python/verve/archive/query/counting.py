"""Counts the distinct ids of many sorted files, within a bound of memory.

One range of ids after the other is read, sorted and counted. At the end as many rows must have
been read as the files promised: a range that was left out or read twice is an error, and never a
wrong count.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from verve.archive.errors import ArchiveError

from .pieces import HIGHEST, LOWEST, Ranges, TooManyError
from .span import DeadlineError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from .pieces import Piece

LEAST_MEMORY = 16 * 2**20
ROW_GROUP = 2**16
_GROUPS = 4
"""Row groups of a file per range, at least where memory allows: one at its end is read twice."""
_RANGE = 2**22
_BLOCK = 2**16


class Count(NamedTuple):
    """Distinct ids, those of them that were forgotten, and the rows that were read."""

    distinct: int
    forgotten: int
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a count may take: bytes of ids at once, and a moment of the monotonic clock."""

    memory: int = 512 * 2**20
    deadline: float | None = None
    progress: Callable[[int], object] | None = None
    """Is called with the rows read since the last call."""

    def check(self) -> None:
        """Raise `DeadlineError` when it is over."""
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise DeadlineError("the count took longer than it may; hint: ask for a shorter span")

    def tell(self, rows: int) -> None:
        """Tell how many rows were read."""
        if self.progress is not None:
            self.progress(rows)


def count(pieces: Sequence[Piece], forgotten: Sequence[int], limits: Limits) -> Count:
    """The distinct ids of all files. `forgotten` ids count as absent."""
    if len(pieces) == 1 and pieces[0].mask is None:
        return _count_one(pieces[0], forgotten, limits)
    capacity = max(limits.memory, LEAST_MEMORY) // 8
    # More memory than this only costs time: the system clears each page of it.
    capacity = min(capacity, max(_RANGE, len(pieces) * _GROUPS * ROW_GROUP))
    # A range may turn out larger than its estimate; what does not fit is a smaller range then.
    ranges = Ranges(pieces, capacity * 7 // 8)
    buffer = np.empty(min(capacity, ranges.rows), dtype=np.int64)
    absent = np.array(sorted(forgotten), dtype=np.int64)
    distinct = hidden = rows = 0
    low = LOWEST
    while True:
        high = ranges.end_of(low)
        while True:
            try:
                filled, read = _fill(buffer, pieces, low, high, limits)
                break
            except TooManyError as error:
                high = error.middle
        found = buffer[:filled]
        found.sort()
        distinct += _distinct(found)
        hidden += _present(found, absent)
        rows += read
        if high == HIGHEST:
            break
        low = high + 1
    if rows != ranges.rows:
        raise ArchiveError(f"of {ranges.rows} rows that files promise, {rows} were read")
    return Count(distinct - hidden, hidden, rows)


def _count_one(piece: Piece, forgotten: Sequence[int], limits: Limits) -> Count:
    """Compare all checksums of a file, and count its rows."""
    rows = piece.file.contents.rows
    piece.file.check(piece.read)
    limits.tell(rows)
    return known(piece, rows, forgotten)._replace(rows=rows)


def known(piece: Piece, rows: int, forgotten: Sequence[int]) -> Count:
    """A file has each id once, so its rows are the count. Only `forgotten` ids are looked for."""
    hidden = sum(
        int(np.count_nonzero(ids == id)) for id in forgotten for ids, _ in piece.between(id, id)
    )
    return Count(rows - hidden, hidden, 0)


def _fill(
    buffer: NDArray[np.int64], pieces: Sequence[Piece], low: int, high: int, limits: Limits
) -> tuple[int, int]:
    """Read the ids of a range: how many there are, and of how many rows."""
    filled = rows = 0
    for piece in pieces:
        limits.check()
        for ids, read in piece.between(low, high):
            if filled + len(ids) > len(buffer):
                # The same ids in many files take no room twice.
                filled = _compacted(buffer[:filled])
                if filled + len(ids) > len(buffer) * 3 // 4:
                    limits.tell(-rows)
                    raise TooManyError(_middle(buffer[:filled], low, high))
            buffer[filled : filled + len(ids)] = ids
            filled += len(ids)
            rows += read
            limits.tell(read)
    return filled, rows


def _middle(found: NDArray[np.int64], low: int, high: int) -> int:
    """An end of a smaller range."""
    middle = int(found[len(found) // 2])
    return middle if low <= middle < high else low + (high - low) // 2


def _compacted(found: NDArray[np.int64]) -> int:
    """Sort `found` and move each distinct id to its front; how many there are.

    In blocks, so that no second array of that size is needed.
    """
    found.sort()
    kept = 0
    for start in range(0, len(found), _BLOCK):
        block = found[start : start + _BLOCK]
        is_new = np.ones(len(block), dtype=bool)
        is_new[1:] = block[1:] != block[:-1]
        is_new[0] = kept == 0 or block[0] != found[kept - 1]
        unique = block[is_new]
        found[kept : kept + len(unique)] = unique
        kept += len(unique)
    return kept


def _distinct(found: NDArray[np.int64]) -> int:
    """The number of distinct ids; in blocks, so that no second array of that size is needed."""
    if not len(found):
        return 0
    total = 1
    for start in range(0, len(found) - 1, _BLOCK):
        block = found[start : start + _BLOCK + 1]
        total += int(np.count_nonzero(block[1:] != block[:-1]))
    return total


def _present(found: NDArray[np.int64], wanted: NDArray[np.int64]) -> int:
    """How many of `wanted` are in `found`, which is sorted."""
    if not len(found) or not len(wanted):
        return 0
    places = np.searchsorted(found, wanted)
    inside = places < len(found)
    return int(np.count_nonzero(found[places[inside]] == wanted[inside]))
