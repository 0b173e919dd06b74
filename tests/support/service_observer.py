"""An observer of a service: a second program at its segment, which keeps the ids of each window.

A window's ids are gone soon after it was published, unless somebody held it while it was current.
The observer holds each, reads its ids once they are final, and lets go of it.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Self

import numpy as np

from verve import Counter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.support.service import Service

_AFTER_BOUNDARY = 0.1
"""Seconds: the service turns its windows by itself, long before the observer looks."""


class Observer:
    """Attached to the segment of `service` from `with` to the end of it, or to `finish`."""

    def __init__(self, service: Service) -> None:
        self.counter = Counter(
            service.segment, window=None, state_directory=str(service.state_directory)
        )
        self.ids: dict[int, NDArray[np.int64]] = {}
        self._held: list[int] = []
        self._stop = threading.Event()
        self._trouble: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="observer", daemon=True)

    def __enter__(self) -> Self:
        self._hold()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self.counter.close()

    def finish(self, last: int, timeout: float = 10) -> dict[int, NDArray[np.int64]]:
        """Wait for the window that starts at `last`, and give the sorted ids of each window.

        A window that began and ended while the machine gave the observer no time is left out.
        """
        end = time.monotonic() + timeout
        while self.counter.ring.newest() < last:
            assert time.monotonic() < end, f"the window {last} is not published after {timeout} s"
            time.sleep(0.01)
        self._end()
        self._collect()
        assert not self._trouble, self._trouble
        most = (max(self.ids) - min(self.ids)) // self.counter.window + 1
        assert len(self.ids) * 2 > most, f"too slow, held {len(self.ids)} of {most} windows"
        return self.ids

    def _end(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stop.wait(self._pause()):
                self._hold()
                self._collect()
        except Exception as error:  # noqa: BLE001 - told by `finish`
            self._trouble = error

    def _pause(self) -> float:
        """Until shortly after the next boundary, at most a moment of the current window."""
        until = self.counter.until_boundary() + _AFTER_BOUNDARY
        return min(until, 0.2)

    def _hold(self) -> None:
        """Hold the current window, once."""
        since = self.counter.window - self.counter.until_boundary()
        if self._held and since < _AFTER_BOUNDARY:
            return
        start = self.counter.hold()
        if start in self._held:
            self.counter.release(start)
        else:
            self._held.append(start)

    def _collect(self) -> None:
        published = self.counter.ring.newest()
        for start in [start for start in self._held if start <= published]:
            self.ids[start] = np.sort(np.frombuffer(self.counter.ids(start), np.int64))
            self._held.remove(start)
            self.counter.release(start)
