"""An observer of a service: a second process attached to its segment that reads the ids.

The ids of a window are freed soon after it was published, unless a process held it while it was
current. The observer holds each window, reads its ids once they are final, and releases it.
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
"""Seconds. The service rolls its windows over by itself, long before the observer reads them."""


class Observer:
    """Holds the windows of `service` from the start of the block until `finish` or its end."""

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
        """Wait for the window that starts at `last`, and return the sorted ids of each window.

        A window is missing if the observer's thread did not run while it was current.
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
        """Seconds until shortly after the next boundary, at most 0.2."""
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
