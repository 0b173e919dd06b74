"""Compares published counts with the ids that a sender knows to be answered, window by window.

An id that was sent and answered within one window must be counted in that window. A request that
was in progress at a boundary may be counted on either side of it. A request without a good answer
may be counted or not. So each window has a least and a greatest right count, and only what lies
outside of them is an error.

It shares no code with Verve.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


class Requests(NamedTuple):
    """Requests of one id each; times are seconds of the wall clock."""

    ids: NDArray[np.int64]
    begins: NDArray[np.float64]
    """When each was sent, or a little earlier."""
    ends: NDArray[np.float64]
    """When each was answered or given up, or a little later."""
    acknowledged: NDArray[np.bool_]
    """Whether it was answered `ok`."""

    @classmethod
    def joined(cls, parts: Sequence[Requests]) -> Requests:
        """Return the requests of several senders as one."""
        columns = zip(*parts, strict=True)
        return cls(*(np.concatenate(column) for column in columns))


class Bounds(NamedTuple):
    """The counts that are right."""

    least: int
    most: int

    def error(self, count: int) -> int:
        """Return how far `count` is below the least, as a negative number, or above the most."""
        return min(0, count - self.least) + max(0, count - self.most)


@dataclass(frozen=True)
class Judgement:
    """What is wrong with the counts of a run."""

    acknowledged: int
    """Distinct ids that were answered `ok`, over all windows."""
    refused: int
    """Requests without a good answer."""
    requests: int
    bounds: Mapping[int, Bounds]
    """By the start of the window."""
    published: Mapping[int, int]
    errors: Mapping[int, int]
    """How many ids the count of each window is off, by its start."""
    lost: int
    """How many ids the sum over all windows is off."""

    @property
    def error(self) -> int:
        """The largest error, of a window or of the sum, with its sign."""
        return max([*self.errors.values(), self.lost], key=abs)

    @property
    def share(self) -> float:
        """That error as a share of the acknowledged ids."""
        return self.error / max(1, self.acknowledged)


def judge(requests: Requests, published: Mapping[int, int], window: int) -> Judgement:
    """Judge the counts in `published`, by the start of their window of `window` seconds."""
    first = np.floor(requests.begins / window).astype(np.int64) * window
    last = np.floor(requests.ends / window).astype(np.int64) * window
    within = requests.acknowledged & (first == last)
    starts = {int(start) for start in np.union1d(first, last)}
    bounds = {}
    for start in sorted(starts | set(published)):
        least = np.unique(requests.ids[within & (first == start)]).size
        most = np.unique(requests.ids[(first <= start) & (start <= last)]).size
        bounds[start] = Bounds(least, most)
    errors = {start: right.error(published.get(start, 0)) for start, right in bounds.items()}
    whole = _sum_bounds(requests, within, first)
    return Judgement(
        acknowledged=np.unique(requests.ids[requests.acknowledged]).size,
        refused=int(np.count_nonzero(~requests.acknowledged)),
        requests=requests.ids.size,
        bounds=bounds,
        published=dict(published),
        errors=errors,
        lost=whole.error(sum(published.values())),
    )


def _sum_bounds(requests: Requests, within: NDArray[np.bool_], first: NDArray[np.int64]) -> Bounds:
    """Return the bounds of the sum over all windows: a request is counted in one of them."""
    placed = np.unique(np.stack([requests.ids[within], first[within]], axis=1), axis=0)
    inside = np.unique(placed[:, 0])
    elsewhere = np.setdiff1d(requests.ids[requests.acknowledged], inside)
    loose = np.count_nonzero(~within)
    return Bounds(len(placed) + elsewhere.size, len(placed) + int(loose))
