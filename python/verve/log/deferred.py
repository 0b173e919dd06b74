"""Deferred work: a thread takes items in order, and may block without delaying the producers.

If too many items wait, the oldest one is dropped and counted.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_all: weakref.WeakSet[Deferred[Any]] = weakref.WeakSet()


class Deferred(Generic[T]):
    """A queue of at most `most` items for `take`, which gets all waiting items at once.

    `take_here` replaces `take` if no thread can be started, and at the end of the process. It must
    not block for long.
    """

    def __init__(
        self,
        name: str,
        take: Callable[[list[T]], None],
        most: int,
        take_here: Callable[[list[T]], None] | None = None,
    ) -> None:
        self._name = name
        self._take = take
        self._take_here = take_here or take
        self._most = most
        self._dropped = 0
        self._closed = False
        self._begin()
        _all.add(self)

    def _begin(self) -> None:
        self._waiting: deque[T] = deque()
        # Reentrant: a signal handler may interrupt `put` and call `put` itself.
        self._changed = threading.Condition(threading.RLock())
        self._busy = 0
        self._moved = time.monotonic()
        self._thread: threading.Thread | None = None

    def put(self, item: T) -> None:
        """Enqueue an item."""
        if self._closed:
            self._take_here([item])
            return
        with self._changed:
            if not self._waiting and not self._busy:
                self._moved = time.monotonic()
            if len(self._waiting) >= self._most:
                self._waiting.popleft()
                self._dropped += 1
            self._waiting.append(item)
            self._changed.notify_all()
        if not self._is_running():
            self._take_all(self._take_here)

    def start(self) -> None:
        """Start the thread before it is needed, while threads can still be started."""
        self._is_running()

    def flush(self, timeout: float) -> bool:
        """Wait until all items are taken. Returns whether they are.

        Gives up after `timeout` seconds without progress, so that a thread that has been stuck for
        longer than that costs no wait.
        """
        if self._closed:
            return True
        deadline = time.monotonic() + timeout
        with self._changed:
            while self._waiting or self._busy:
                remaining = min(deadline, self._moved + timeout) - time.monotonic()
                if remaining <= 0:
                    return False
                self._changed.wait(remaining)
            return True

    def close(self, timeout: float) -> None:
        """Flush at the end of the process; from then on, the thread that puts an item takes it.

        `put` then uses no lock: the interpreter stops the thread at any point, even while it holds
        one.
        """
        self.flush(timeout)
        self._closed = True

    def queued(self) -> int:
        """The number of items that wait to be taken."""
        return len(self._waiting)

    def waiting(self) -> int:
        """The number of unfinished items: those that wait and those that are being taken."""
        with self._changed:
            return len(self._waiting) + self._busy

    def dropped(self) -> int:
        """The number of items dropped since the last call."""
        with self._changed:
            found, self._dropped = self._dropped, 0
            return found

    def _is_running(self) -> bool:
        with self._changed:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # no thread can be started, or the interpreter ends
                    return False
                self._thread = thread
            return True

    def _run(self) -> None:
        changed = self._changed
        while True:
            with changed:
                while not self._waiting:
                    changed.wait()
            self._take_all(self._take)

    def _take_all(self, take: Callable[[list[T]], None]) -> None:
        with self._changed:
            items = list(self._waiting)
            self._waiting.clear()
            self._busy += len(items)
        try:
            if items:
                take(items)
        finally:
            with self._changed:
                self._busy -= len(items)
                self._moved = time.monotonic()
                self._changed.notify_all()


def _begin_in_child() -> None:
    """Reset all queues: a fork has no thread, and its parent takes the waiting items."""
    for deferred in list(_all):
        deferred._begin()  # noqa: SLF001 - a method of this module


os.register_at_fork(after_in_child=_begin_in_child)
