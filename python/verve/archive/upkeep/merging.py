"""Merges sorted files into one with the parts of each id, within a bound of memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from verve.archive.errors import ArchiveError
from verve.archive.query.pieces import AT_ONCE, HIGHEST, LOWEST, Ranges

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from verve.archive.query.pieces import Piece

    Pair = tuple[NDArray[np.int64], NDArray[np.int64]]

_BYTES_PER_ID = 64
"""What an id takes while it is merged: as read, sorted, distinct, and its parts."""
_LEAST = 2**17


def merge(pieces: Sequence[Piece], forgotten: Sequence[int], memory: int) -> Iterator[Pair]:
    """The ids of all files in ascending order, and the bits of all their parts.

    A piece with `bits` has these for each of its ids. `forgotten` ids are left out.
    """
    ranges = Ranges(pieces, max(memory // _BYTES_PER_ID, _LEAST))
    absent = np.array(sorted(forgotten), dtype=np.int64)
    low, rows = LOWEST, 0
    while True:
        high = ranges.end_of(low)
        read = [pair for piece in pieces for pair in _pairs(piece, low, high)]
        rows += sum(len(ids) for ids, _ in read)
        yield _without(*_merged(read), absent)
        if high == HIGHEST:
            break
        low = high + 1
    if rows != ranges.rows:
        raise ArchiveError(f"of {ranges.rows} rows that files promise, {rows} were read")


def _pairs(piece: Piece, low: int, high: int) -> Iterator[Pair]:
    groups = piece.file.between(low, high)
    for first in range(groups.start, groups.stop, AT_ONCE):
        some = slice(first, min(first + AT_ONCE, groups.stop))
        if not piece.bits:
            yield piece.with_parts(some, low, high)
            continue
        ids = piece.file.ids(some, piece.read)
        ids = ids[np.searchsorted(ids, low) : np.searchsorted(ids, high, "right")]
        bits = piece.bits - 2**64 if piece.bits >= 2**63 else piece.bits
        yield ids, np.broadcast_to(np.int64(bits), len(ids))


def _merged(read: Sequence[Pair]) -> Pair:
    if not read:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    ids = np.concatenate([pair[0] for pair in read])
    ids.sort()
    if len(ids):
        ids = ids[np.concatenate(([True], ids[1:] != ids[:-1]))]
    parts = np.zeros(len(ids), np.int64)
    for some, bits in read:
        # No id is in one pair twice, so each place is written once.
        parts[np.searchsorted(ids, some)] |= bits
    return ids, parts


def _without(ids: NDArray[np.int64], parts: NDArray[np.int64], absent: NDArray[np.int64]) -> Pair:
    if not len(absent):
        return ids, parts
    kept = ~np.isin(ids, absent, assume_unique=True)
    return ids[kept], parts[kept]
