"""Somebody who keeps the ids of every window until it is closed, and lists them then."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

import numpy as np

from tests.support.processes.children import wait_until
from verve import Counter

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from verve import WindowRecord


class Observer:
    """Observes from the first moment to `finish`, in a thread of its own.

    It may miss a window in which it got no time to run, but not many.
    """

    def __init__(self, segment: Path, window: int, max_ids: int) -> None:
        self.counter = Counter(segment, window=window, max_ids=max_ids)
        self.observed: dict[int, NDArray[np.int64]] = {}
        self._held: set[int] = set()
        self._failure: BaseException | None = None
        self._ended = threading.Event()
        self._look()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self.counter.close()

    def finish(self) -> list[WindowRecord]:
        """Wait until the current window is closed and listed; the records up to it."""
        last = self.counter.current().window_start
        wait_until(
            lambda: (
                self._failure or (self.counter.ring.newest() >= last and last not in self._held)
            ),
            30,
            f"closed: {last}",
        )
        # No window that ends from now on is observed: it would have no record below.
        self._end()
        if self._failure is not None:
            raise self._failure
        records = [record for record in self.counter.closed() if record.window_start <= last]
        self.observed = {start: ids for start, ids in self.observed.items() if start <= last}
        missed = [r for r in records if r.unique and r.window_start not in self.observed]
        assert len(missed) <= 1 + len(records) // 20, missed
        return records

    def _end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._ended.wait(0.02):
                self._look()
        except BaseException as failure:  # noqa: BLE001 - told by `finish`
            self._failure = failure

    def _look(self) -> None:
        start = self.counter.hold()
        if start in self._held:
            self.counter.release(start)  # held twice now, and that is once too often
        self._held.add(start)
        published = self.counter.ring.newest()
        for closed in sorted(window for window in self._held if window <= published):
            ids = np.frombuffer(self.counter.ids(closed), np.int64)
            again = np.frombuffer(self.counter.ids(closed), np.int64)
            assert np.array_equal(np.sort(ids), np.sort(again)), "a closed window changed"
            self.observed[closed] = ids
            self._held.remove(closed)
            self.counter.release(closed)
