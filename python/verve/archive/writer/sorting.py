"""Sorts the ids of a file of the spool within a bound of memory.

Ids that fit are sorted at once. Others are sorted by ranges: a sample of the file gives the bounds,
and each range is one pass over the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from verve.archive.spool.spool_file import SpoolFile

BYTES_PER_ID = 48
"""Memory that an id takes at most while it is read, sorted, encoded and verified."""
_SAMPLE = 1 << 16
_LOWEST, _HIGHEST = -(2**63), 2**63 - 1


def sorted_ids(file: SpoolFile, memory: int) -> Iterator[NDArray[np.int64]]:
    """The ids in ascending order, in pieces. Raises `OSError` and `DamagedFileError`."""
    most = max(_SAMPLE, memory // BYTES_PER_ID)
    count = file.head.count
    if count <= most:
        yield _at_once(file)
        return
    bounds = _bounds(file, -(-count // most))
    ranges = list(
        zip([_LOWEST, *bounds], [*(bound - 1 for bound in bounds), _HIGHEST], strict=True)
    )
    ranges.reverse()
    while ranges:
        low, high = ranges.pop()
        ids = _between(file, low, high, 2 * most)
        if len(ids) > 2 * most:
            # The sample was a poor one. Ids are distinct, so the middle splits them.
            middle = int(np.median(ids[: _SAMPLE + 1]))
            ranges += [(middle + 1, high), (low, middle)]
            continue
        ids.sort()
        yield ids


def _at_once(file: SpoolFile) -> NDArray[np.int64]:
    ids = np.empty(file.head.count, dtype=np.int64)
    at = 0
    for piece in file.pieces():
        some = np.frombuffer(piece, dtype="<i8")
        ids[at : at + len(some)] = some
        at += len(some)
    ids.sort()
    return ids


def _bounds(file: SpoolFile, parts: int) -> list[int]:
    """Ids that divide all of them into about equal parts, ascending and distinct."""
    step = max(1, file.head.count // _SAMPLE)
    sample = np.sort(
        np.concatenate([np.frombuffer(piece, dtype="<i8")[::step] for piece in file.pieces()])
    )
    marks = [len(sample) * part // parts for part in range(1, parts)]
    return sorted({int(bound) for bound in sample[marks]} - {_LOWEST})


def _between(file: SpoolFile, low: int, high: int, most: int) -> NDArray[np.int64]:
    """The ids from `low` to `high`; more than `most` of them are not all read."""
    found, count = [], 0
    for piece in file.pieces():
        ids = np.frombuffer(piece, dtype="<i8")
        chosen = ids[(ids >= low) & (ids <= high)]
        found.append(chosen)
        count += len(chosen)
        if count > most:
            break
    return np.concatenate(found).astype(np.int64, copy=False)
