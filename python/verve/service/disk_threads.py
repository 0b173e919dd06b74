"""Threads for work that may wait for a disk, so that it takes none that other requests need.

A disk that hangs holds a thread for as long as it hangs. So this work has a few threads of its own,
and no stop waits for one.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class DiskThreads:
    """At most `most` threads, which do the submitted work in its order."""

    def __init__(self, name: str, most: int) -> None:
        self._name = name
        self._most = most
        self._started = 0
        self._lock = threading.Lock()
        self._work: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """The result of `work`; a caller that stops waiting before it begins cancels it.

        Raises `RuntimeError` if not even one thread can be started.
        """
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001 - the caller gets it with the result
                future.set_exception(error)
            else:
                future.set_result(result)

        self._start()
        self._work.put(run)
        return future

    def _start(self) -> None:
        with self._lock:
            if self._started == self._most:
                return
            try:
                threading.Thread(target=self._run, name=self._name, daemon=True).start()
            except RuntimeError:
                # The threads that run go on.
                if not self._started:
                    raise
            else:
                self._started += 1

    def _run(self) -> None:
        while True:
            self._work.get()()
