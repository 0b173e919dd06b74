"""An event for which the main thread waits, and that the handler of a signal may set.

`threading.Event` misses some: a signal that comes after the thread has looked for signals, and
before it sleeps, runs its handler when something else wakes the thread, which may be never. And it
hangs if the handler runs while the same thread holds the lock of the event. Here the thread sleeps
until a socket is readable; the operating system's handler of a signal writes to it at once
(`signal.set_wakeup_fd`), and no lock is held.
"""

from __future__ import annotations

import contextlib
import multiprocessing.connection
import signal
import socket
import time
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_READ_BYTES = 4096


class SignalEvent:
    """The part of `threading.Event` that Granian's main loop uses; any thread may set it."""

    def __init__(self) -> None:
        self._is_set = False
        self._reader, self._writer = socket.socketpair()
        self._reader.settimeout(0)
        self._writer.settimeout(0)
        weakref.finalize(self, _close, self._reader, self._writer)

    @contextlib.contextmanager
    def woken_by_signals(self) -> Iterator[None]:
        """Have each signal that has a handler wake `wait`. Use it in the main thread.

        A process that is forked meanwhile writes to this too, until its own event loop runs: `wait`
        looks at the flag again, and goes on.
        """
        before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)

    def is_set(self) -> bool:
        """Whether `set` was called since the last `clear`."""
        return self._is_set

    def set(self) -> None:
        """End each `wait`, of now and later, until `clear`. A handler of a signal may call it."""
        self._is_set = True
        with contextlib.suppress(BlockingIOError):  # full: `wait` wakes in any case
            self._writer.send(b"\0")

    def clear(self) -> None:
        """Have `wait` wait again."""
        self._is_set = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, for `timeout` seconds at most; return whether it is set."""
        end = None if timeout is None else time.monotonic() + timeout
        while not self._is_set:
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                break
            if multiprocessing.connection.wait([self._reader], left):
                # Handlers of the signals that wrote run before the flag is looked at again.
                self._reader.recv(_READ_BYTES)
        return self._is_set


def _close(*sockets: socket.socket) -> None:
    for each in sockets:
        each.close()
