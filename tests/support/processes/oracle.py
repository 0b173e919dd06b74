"""What must hold of counted ids, whatever was killed: acknowledged ⊆ counted ⊆ sent, by window."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from tests.support.processes.journals import Life
    from verve import WindowRecord

    Ids = NDArray[np.int64]


def differences(
    lives: Iterable[Life], observed: Mapping[int, Ids], records: Sequence[WindowRecord]
) -> list[str]:
    """What is wrong, a line each.

    `observed` has the ids of each closed window as the counter listed them, `records` what it
    published. Of a window that the observer came too late for only the number is looked at.
    """
    lives = list(lives)
    lines = _of_records(observed, records)
    placed, shared, new = _claims(lives, lines)
    published = {record.window_start: record.unique for record in records}
    for window in sorted(observed.keys() | placed.keys()):
        unanswered = _union(
            np.arange(life.pending[0], sum(life.pending))
            for life in lives
            if life.pending is not None and life.earliest <= window <= life.latest
        )
        unique = published.get(window, -1)
        if not new[window] <= unique <= new[window] + len(unanswered):
            lines.append(
                f"window {window}: {new[window]} answers said new, {len(unanswered)} ids are "
                f"unanswered, {unique} are published"
            )
        if window in observed:
            due = _union(placed[window])
            sent = _union([due, *shared[window], unanswered])
            lines += _of_window(window, observed[window], due, sent)
    lines += _of_batches(lives, observed)
    return lines


def _of_window(window: int, ids: Ids, due: Ids, sent: Ids) -> list[str]:
    lines = []
    counted = np.unique(ids)
    if len(counted) != len(ids):
        lines.append(f"window {window}: {len(ids) - len(counted)} ids are listed twice")
    missing = np.setdiff1d(due, counted, assume_unique=True)
    if missing.size:
        lines.append(f"window {window}: acknowledged, not counted: {_sample(missing)}")
    foreign = np.setdiff1d(counted, sent, assume_unique=True)
    if foreign.size:
        lines.append(f"window {window}: counted, never sent: {_sample(foreign)}")
    return lines


def _of_records(observed: Mapping[int, Ids], records: Sequence[WindowRecord]) -> list[str]:
    lines = []
    unique = {record.window_start: record.unique for record in records}
    for before, after in pairwise(records):
        if after.window_start != before.window_start + before.window_seconds:
            lines.append(f"after window {before.window_start} comes {after.window_start}")
    for window, ids in observed.items():
        if window not in unique:
            lines.append(f"window {window}: no record")
        elif unique[window] != len(ids):
            lines.append(f"window {window}: published {unique[window]}, listed {len(ids)}")
    return lines


def _claims(
    lives: Iterable[Life], lines: list[str]
) -> tuple[defaultdict[int, list[Ids]], defaultdict[int, list[Ids]], defaultdict[int, int]]:
    """What calls claim by window: ids that must be there, that may be there, and how many were new.

    Of a batch that went on in the next window each id is in one of the two.
    """
    placed = defaultdict[int, list["Ids"]](list)
    shared = defaultdict[int, list["Ids"]](list)
    new = defaultdict[int, int](int)
    for life in lives:
        answered = life.calls[life.calls[:, 2] > 0]
        first_windows = answered[:, 3]
        if np.any(np.diff(first_windows) < 0):
            lines.append(f"windows go back to {first_windows[1:][np.diff(first_windows) < 0]}")
        for number in range(3):
            have = answered[answered[:, 2] > number]
            for window in np.unique(have[:, 3 + 2 * number]):
                at = have[have[:, 3 + 2 * number] == window]
                new[int(window)] += int(at[:, 4 + 2 * number].sum())
                placed[int(window)].append(_expand(at[at[:, 2] == 1]))
                shared[int(window)].append(_expand(at[at[:, 2] > 1]))
    return placed, shared, new


def _of_batches(lives: Iterable[Life], observed: Mapping[int, Ids]) -> list[str]:
    """Batches that went on in the next window: each id has to be in one of those that it names."""
    lines = []
    for life in lives:
        for row in life.calls[life.calls[:, 2] > 1]:
            ids = np.arange(row[0], row[0] + row[1])
            windows = [int(w) for w in row[3 : 3 + 2 * row[2] : 2]]
            there = [np.isin(ids, observed[w]) for w in windows if w in observed]
            if len(there) == len(windows) and not np.logical_or.reduce(there).all():
                lines.append(f"a batch from {row[0]} on is not whole in windows {windows}")
    return lines


def _expand(calls: Ids) -> Ids:
    """The distinct ids of some calls."""
    firsts, lengths = calls[:, 0], calls[:, 1]
    if np.all(lengths == 1):
        return np.unique(firsts)
    offsets = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return np.unique(np.repeat(firsts, lengths) + offsets)


def _union(parts: Iterable[Ids]) -> Ids:
    listed = list(parts)
    return np.unique(np.concatenate(listed)) if listed else np.empty(0, np.int64)


def _sample(ids: Ids) -> str:
    return f"{len(ids)} ids ({', '.join(map(str, ids[:4]))}, ...)"
