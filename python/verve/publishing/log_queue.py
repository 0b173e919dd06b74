"""The queue of the log: by the log's cursor in the segment, and what the ledger says it lacks.

The log does not read the ledger, which may hang. The ledger writer passes on what the source does
not give: revisions, and windows from before a reboot. In return it reads which revisions the log
took, since the cursor says of a cluster's window that some revision was taken, and not which.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from verve._verve import RING_RECORDS
from verve.clock import CLOCK, Clock
from verve.ledger.ledger import Receipt

from .lease import Cursor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from verve._verve import Counter
    from verve.windows.window import Key, Window

    from .lease import Lease
    from .window_source import WindowSource

PATIENCE_SECONDS = 0.3
"""Seconds that the log and the ledger wait for each other at most."""


class LogQueue:
    """The windows that the log has not taken. The log's worker and the ledger writer share it."""

    def __init__(
        self,
        counter: Counter,
        source: WindowSource,
        lease: Lease,
        *,
        clock: Clock = CLOCK,
    ) -> None:
        self._counter = counter
        self._source = source
        self._lease = lease
        self._clock = clock
        self._receipts: dict[Key, Receipt] = {}
        self._unlogged: list[Window] | None = None
        self._changed = threading.Condition()

    def pending(self) -> Iterator[Window]:
        """Yield what the ledger passed on, then what the source gives behind the cursor."""
        with self._changed:
            self._wait_for(lambda: self._unlogged is not None)
            # The log waits once: a ledger that is stuck must not delay each window.
            unlogged = self._unlogged = self._unlogged or []
        for window in unlogged:
            if self._lease.holds() and self.receipt(window) is None:
                yield window
        for window in self._source.after(self._counter.ring.cursor(Cursor.LOG)):
            # Lease and cursor are read again for each window: a leader that was stopped must not
            # repeat what the next leader logged.
            if self._lease.holds() and window.window_start > self._counter.ring.cursor(Cursor.LOG):
                yield window

    def mark_taken(self, window: Window) -> bool:
        """Note that the log took the window, and move the cursor. False if the lease is lost.

        A window from before the ring does not move the cursor. One of another length may start
        together with a window of the ring that is still to be logged.
        """
        with self._changed:
            self._receipts.pop(window.key, None)
            self._receipts[window.key] = Receipt(self._clock.wall(), window.revision)
            for old in list(self._receipts)[: -2 * RING_RECORDS]:
                del self._receipts[old]
            self._changed.notify_all()
        of_the_ring = window.window_seconds == self._counter.window
        if not of_the_ring or window.window_start <= self._counter.ring.cursor(Cursor.LOG):
            return self._lease.holds()
        return self._counter.ring.advance_cursor(Cursor.LOG, window.window_start, self._lease.term)

    def close(self) -> None:
        """Do nothing: the queue holds nothing open."""

    def receipt(self, window: Window) -> Receipt | None:
        """Return when the log took this revision of the window, or a higher one, in this term."""
        with self._changed:
            found = self._receipts.get(window.key)
        return found if found is not None and found.revision >= window.revision else None

    def wait_for(self, window: Window) -> None:
        """Wait a moment until the log has taken this window."""
        with self._changed:
            self._wait_for(lambda: window.key in self._receipts)

    def _wait_for(self, predicate: Callable[[], bool]) -> None:
        """Wait a moment, with the lock held, for the other of the two threads."""
        self._clock.wait_for(self._changed, predicate, PATIENCE_SECONDS)

    def pass_on(self, unlogged: list[Window]) -> None:
        """Replace the windows of the ledger that the log lacks and the source does not give."""
        with self._changed:
            self._unlogged = unlogged
            self._changed.notify_all()
