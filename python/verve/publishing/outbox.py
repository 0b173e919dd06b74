"""The ledger as the outbox of a sink: the windows that the sink has not taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verve.clock import CLOCK, Clock
from verve.ledger import ledger
from verve.ledger.ledger import LedgerError, LedgerFailure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from verve.config import Settings
    from verve.windows.window import Window

    from .lease import Lease


class Outbox:
    """The queue of a sink in the ledger, for one term of a leader.

    If the ledger is locked or full when a window was taken, the outbox remembers the window and
    notes it first next time, so that the sink does not take it twice.
    """

    def __init__(self, settings: Settings, lease: Lease, sink: str, clock: Clock = CLOCK) -> None:
        self._settings = settings
        self._lease = lease
        self._sink = sink
        self._clock = clock
        self._path = ledger.path_of(settings)
        self._ledger: ledger.Ledger | None = None
        self._taken: list[tuple[Window, float]] = []

    def pending(self) -> Iterator[Window]:
        """Yield the windows that the sink has not taken, oldest first. Raises `LedgerError`."""
        if not self._note_taken():
            return
        for window in self._undelivered():
            # The lease is read again for each window: a leader that was stopped must not repeat
            # what the next leader sent.
            if not self._lease.holds():
                return
            yield window

    def mark_taken(self, window: Window) -> bool:
        """Note in the ledger that the sink took the window. False if the lease is lost."""
        self._taken.append((window, self._clock.wall()))
        return self._note_taken()

    def close(self) -> None:
        """Close the ledger."""
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None

    def _note_taken(self) -> bool:
        opened = self._opened()
        while self._taken and opened is not None:
            window, taken_at = self._taken[0]
            try:
                opened.mark_taken(self._sink, window, taken_at, fence=self._lease.holds)
            except LedgerError as error:
                if error.kind is LedgerFailure.DEPOSED:
                    return False
                self._close_if_broken(error)
                raise
            del self._taken[0]
        return self._lease.holds()

    def _undelivered(self) -> list[Window]:
        opened = self._opened()
        if opened is None:
            return []
        try:
            return opened.undelivered(self._sink)
        except LedgerError as error:
            self._close_if_broken(error)
            raise

    def _opened(self) -> ledger.Ledger | None:
        """Return the ledger, opened again if its file was replaced; None while there is none."""
        if self._ledger is not None and self._ledger.replaced:
            self.close()
        if self._ledger is None and self._path.exists():
            self._ledger = ledger.open_ledger(self._settings)
        return self._ledger

    def _close_if_broken(self, error: LedgerError) -> None:
        """Open the ledger again next time, unless it is only locked or full."""
        if error.kind not in {LedgerFailure.LOCKED, LedgerFailure.FULL}:
            self.close()
