"""Reads the records of `verve-load --out FILE`: every id that was sent, with its outcome.

The layout is defined in `bench/load/src/records.rs`; change both together.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from os import PathLike

    from numpy.typing import ArrayLike, NDArray

    Ids = NDArray[np.int64]

MAGIC = b"VRVLOAD\x01"
HEADER = np.dtype(
    [
        ("magic", "S8"),
        ("record_size", "<u4"),
        ("window_seconds", "<u4"),
        ("started_at_ns", "<i8"),
        ("reserved", "<i8"),
    ]
)
RECORD = np.dtype(
    [
        ("id", "<i8"),
        ("window", "<i8"),
        ("sent_ms", "<u4"),
        ("took_us", "<u4"),
        ("connection", "<u4"),
        ("status", "<u2"),
        ("kind", "u1"),
        ("seen", "u1"),
    ]
)

PLACED = 1
"""Acknowledged, and the answer named the window."""
ACKNOWLEDGED = 2
"""Acknowledged; `window` is the sender's guess from its own clock."""
SENT = 3
"""Sent, without an answer that says whether the id was counted."""
REFUSED = 4
"""Answered with an error: the id must not be counted for it."""

NEW = 1
DUPLICATE = 0
NOT_TOLD = 255


class RecordsError(ValueError):
    """The file is no record file, or it is damaged."""


@dataclass(frozen=True)
class Records:
    """The records of one or more runs.

    `rows` is a structured array of dtype `RECORD`, in the order of the answers within each run.
    """

    rows: NDArray[np.void]
    window_seconds: int

    def of_kind(self, *kinds: int) -> NDArray[np.void]:
        """The rows of these kinds."""
        return self.rows[np.isin(self.rows["kind"], kinds)]

    def windows(self) -> list[int]:
        """The starts of all windows that answers named, in order."""
        return [int(start) for start in np.unique(self.of_kind(PLACED)["window"])]

    def placed(self) -> dict[int, Ids]:
        """The distinct ids that the answers placed in each window, sorted."""
        return group(self.of_kind(PLACED))

    def new(self) -> dict[int, Ids]:
        """The ids that answers called new in each window, sorted; an id occurs once per answer."""
        rows = self.of_kind(PLACED)
        rows = rows[rows["seen"] == NEW]
        starts = np.unique(rows["window"])
        return {int(start): np.sort(rows["id"][rows["window"] == start]) for start in starts}

    def possible(self, window: int) -> Ids:
        """The distinct ids that may be counted in a window, sorted.

        These are the ids that answers placed there, and the ids sent before its end whose answer
        names no window: a stopped process may continue with them at any later time.
        """
        rows = self.rows
        placed = (rows["kind"] == PLACED) & (rows["window"] == window)
        unknown = np.isin(rows["kind"], (ACKNOWLEDGED, SENT)) & (rows["window"] <= window)
        return np.unique(rows["id"][placed | unknown])


def load(*paths: str | PathLike[str]) -> Records:
    """Read the record files of one or more concurrent runs."""
    parts, lengths = [], set()
    for path in map(Path, paths):
        data = path.read_bytes()
        if len(data) < HEADER.itemsize or not data.startswith(MAGIC):
            message = f"the file holds no records of verve-load: `{path}`"
            raise RecordsError(message)
        header = np.frombuffer(data, HEADER, count=1)[0]
        size = len(data) - HEADER.itemsize
        if header["record_size"] != RECORD.itemsize or size % RECORD.itemsize:
            message = (
                f"the records are cut off or of another version: `{path}`\n"
                "hint: did the generator end by itself, and is it built from this tree?"
            )
            raise RecordsError(message)
        lengths.add(int(header["window_seconds"]))
        parts.append(np.frombuffer(data, RECORD, offset=HEADER.itemsize))
    if len(lengths) != 1:
        message = f"the files have different windows: `{sorted(lengths)}`"
        raise RecordsError(message)
    return Records(np.concatenate(parts), lengths.pop())


def group(rows: NDArray[np.void]) -> dict[int, Ids]:
    """The distinct ids of each window, sorted."""
    if not rows.size:
        return {}
    order = np.argsort(rows["window"], kind="stable")
    windows, ids = rows["window"][order], rows["id"][order]
    starts, first = np.unique(windows, return_index=True)
    return {
        int(start): np.unique(part)
        for start, part in zip(starts, np.split(ids, first[1:]), strict=True)
    }


def differences(records: Records, counted: Mapping[int, ArrayLike]) -> list[str]:
    """One line per violation of acknowledged ⊆ counted ⊆ sent.

    `counted` maps each window to its ids in the counter. A window that is not in it must have no
    acknowledged ids.
    """
    lines = []
    placed = records.placed()
    nothing = np.empty(0, np.int64)
    for window in sorted(placed.keys() | counted.keys()):
        ids = np.unique(np.asarray(counted.get(window, nothing), dtype=np.int64))
        missing = np.setdiff1d(placed.get(window, nothing), ids, assume_unique=True)
        if missing.size:
            lines.append(f"window {window}: acknowledged but not counted: {sample(missing)}")
        foreign = np.setdiff1d(ids, records.possible(window), assume_unique=True)
        if foreign.size:
            lines.append(f"window {window}: counted but never sent: {sample(foreign)}")
    return lines


def sample(ids: Iterable[int], most: int = 5) -> str:
    """The number of ids, and the first few of them."""
    listed = [int(one) for one in ids]
    shown = ", ".join(map(str, listed[:most]))
    return f"{len(listed)} ids ({shown}{', ...' if len(listed) > most else ''})"
