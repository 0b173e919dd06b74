"""The native listeners of a worker, and the report of what they have served."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from verve._verve import VerveError

if TYPE_CHECKING:
    from verve._verve import Counter, NativeListener


class Listeners:
    """The native listeners of this worker.

    Each keeps its figures in its own memory. The worker reports them in the segment from time to
    time, so that every worker can answer for the host.
    """

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._all: list[NativeListener] = []

    @property
    def exist(self) -> bool:
        """Whether this worker has a native listener."""
        return bool(self._all)

    def add(self, listener: NativeListener) -> None:
        """Report this listener too."""
        self._all.append(listener)

    def report(self) -> None:
        """Write the sums over the listeners, unless the segment cannot be used."""
        if self._all:
            sums = map(sum, zip(*(one.figures() for one in self._all), strict=True))
            with contextlib.suppress(VerveError):
                self._counter.worker_figures.report_listeners(*sums)
