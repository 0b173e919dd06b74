"""The ledger as the outbox of a sink: what it has not taken, and the note that it has."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from verve.ledger import ledger
from verve.ledger.ledger import LedgerError, LedgerTrouble

if TYPE_CHECKING:
    from collections.abc import Iterator

    from verve.config import Settings
    from verve.windows.window import Window

    from .ledger_writer import Lease


class Outbox:
    """Where the courier of a sink gets its windows, for one term of a leader.

    A window that was taken and could not be noted, since the ledger is locked or full, is
    remembered and noted first: it is not taken a second time for that.
    """

    def __init__(self, settings: Settings, lease: Lease, sink: str) -> None:
        self._settings = settings
        self._lease = lease
        self._sink = sink
        self._path = ledger.path_of(settings)
        self._ledger: ledger.Ledger | None = None
        self._taken: list[tuple[Window, float]] = []

    def pending(self) -> Iterator[Window]:
        """The windows that the sink has not taken, oldest first. Raises `LedgerError`."""
        if not self._note():
            return
        for window in self._waiting():
            # Asked again for each: a leader that was stopped must not repeat what another sent.
            if not self._lease.holds():
                return
            yield window

    def take_note(self, window: Window) -> bool:
        """The sink took it. False: another leads now."""
        self._taken.append((window, time.time()))
        return self._note()

    def close(self) -> None:
        """Close the ledger."""
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None

    def _note(self) -> bool:
        opened = self._opened()
        while self._taken and opened is not None:
            window, taken_at = self._taken[0]
            try:
                opened.deliver(self._sink, window, taken_at, fence=self._lease.holds)
            except LedgerError as error:
                if error.trouble is LedgerTrouble.DEPOSED:
                    return False
                self._give_up(error)
                raise
            del self._taken[0]
        return self._lease.holds()

    def _waiting(self) -> list[Window]:
        opened = self._opened()
        if opened is None:
            return []
        try:
            return opened.undelivered(self._sink)
        except LedgerError as error:
            self._give_up(error)
            raise

    def _opened(self) -> ledger.Ledger | None:
        """The ledger, opened again if its file was replaced; None while there is none."""
        if self._ledger is not None and self._ledger.replaced:
            self.close()
        if self._ledger is None and self._path.exists():
            self._ledger = ledger.open_ledger(self._settings)
        return self._ledger

    def _give_up(self, error: LedgerError) -> None:
        """Open it anew next time, unless it is only busy or full."""
        if error.trouble not in {LedgerTrouble.LOCKED, LedgerTrouble.FULL}:
            self.close()
