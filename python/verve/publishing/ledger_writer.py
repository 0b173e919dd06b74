"""Writes sealed windows to the ledger, for one term of a leader.

The log reads the same source and does not wait for the ledger, which may be stuck or full. The
ledger follows, notes when the log took each window, and passes on what the log never took.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from verve._verve import RING_RECORDS
from verve.clock import CLOCK, Clock
from verve.ledger import ledger
from verve.ledger.ledger import LedgerError, LedgerFailure, Receipt
from verve.log import events
from verve.sinks import LOG

from .lease import Cursor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from verve._verve import Counter
    from verve.config import Settings
    from verve.ledger.expiry import Dropped
    from verve.ledger.lock_holder import HolderWatch
    from verve.windows.window import Key, Window

    from .lease import Lease
    from .log_queue import LogQueue
    from .window_source import WindowSource

_REPORT_DROPS_EVERY = 3_600.0


class DropReporter:
    """Logs windows that were dropped before a sink took them: at once, and then every hour."""

    def __init__(self, clock: Clock = CLOCK) -> None:
        self._clock = clock
        self._unreported: dict[str, Dropped] = {}
        self._reported_at: float | None = None

    def add(self, dropped: Iterable[Dropped]) -> None:
        """Add windows that were dropped just now."""
        for one in dropped:
            before = self._unreported.get(one.sink, one._replace(windows=0))
            self._unreported[one.sink] = before._replace(windows=before.windows + one.windows)
        now, last = self._clock.monotonic(), self._reported_at
        if self._unreported and (last is None or now - last >= _REPORT_DROPS_EVERY):
            self._reported_at = now
            for one in self._unreported.values():
                events.LEDGER_DROPPED.emit(sink=one.sink, number=one.windows, first=one.first)
            self._unreported.clear()


class LedgerWriter:
    """Writes the ledger from a source. `log` is the queue of the log, if the log is a sink."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts of a term
        self,
        counter: Counter,
        source: WindowSource,
        settings: Settings,
        lease: Lease,
        log: LogQueue | None,
        holders: HolderWatch,
        *,
        clock: Clock = CLOCK,
    ) -> None:
        self._counter = counter
        self._source = source
        self._settings = settings
        self._lease = lease
        self._log = log
        self._holders = holders
        self._clock = clock
        self._drops = DropReporter(clock)
        self._ledger: ledger.Ledger | None = None
        self._caught_up = False
        self._backoff = clock.backoff(longest=2.0)
        self.error: str | None = None

    @property
    def attempts(self) -> int:
        """How many times in a row the ledger failed."""
        return self._backoff.attempts

    def step(self) -> float | None:
        """Write what is new. Return seconds until the next attempt; None when all is done."""
        if remaining := self._backoff.remaining:
            return remaining
        try:
            self._write()
        except LedgerError as error:
            return self._failed(error)
        self.error = None
        if failed := self._backoff.succeeded():
            events.LEDGER_RECOVERED.emit(attempts=failed)
        return None

    def close(self) -> None:
        """Close the ledger."""
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None

    def _write(self) -> None:
        opened = self._opened()
        unlogged = self._pass_on_unlogged(opened)
        cursor = self._counter.ring.cursor(Cursor.LEDGER)
        windows = self._source.after(cursor)
        self._report_missed(windows, cursor)
        # Once per term all that the source remembers: rows that exist stay as they are, and a
        # ledger that was removed or set aside gets them back.
        again = self._source.behind(cursor, everything=not self._caught_up)
        if (
            windows
            and windows[-1].window_start > self._counter.ring.cursor(Cursor.LOG)
            and self._log
        ):
            # Then one transaction holds the row and its delivery.
            self._log.wait_for(windows[-1])
        changed = [*again, *windows]
        taken = self._taken(unlogged, changed)
        if changed or taken:
            opened.record(changed, sinks=self._sinks, taken=taken, fence=self._lease.holds)
            self._source.recorded(changed)
            self._expire(opened)
            self._pass_on_unlogged(opened)
        if windows:
            # If the log is no sink, its cursor goes along: switched on later, it begins there.
            for moved in (Cursor.LEDGER,) if self._log else (Cursor.LEDGER, Cursor.LOG):
                self._counter.ring.advance_cursor(moved, windows[-1].window_start, self._lease.term)
        self._caught_up = True

    def _expire(self, opened: ledger.Ledger) -> None:
        """Drop windows that are too old by both clocks: one that is wrong must not drop any."""
        now = int(min(self._counter.now(), self._clock.wall()))
        self._drops.add(opened.expire(now, fence=self._lease.holds))

    @property
    def _sinks(self) -> Iterable[str] | Callable[[Window], Iterable[str]]:
        return self._settings.sinks if self._source.is_final() else self._source.sinks_of

    def _opened(self) -> ledger.Ledger:
        """Return the ledger, opened again if its file was removed or replaced."""
        if self._ledger is None or self._ledger.replaced:
            if self._ledger is not None:
                events.LEDGER_REMOVED.emit(path=self._ledger.path)
            self.close()
            self._ledger = ledger.open_ledger(self._settings)
            self._caught_up = False
        return self._ledger

    def _pass_on_unlogged(self, opened: ledger.Ledger) -> list[Window]:
        """Return the windows that the ledger says the log lacks.

        Those that the source does not give to the log are passed on to its queue.
        """
        if self._log is None:
            return []
        unlogged = opened.undelivered(LOG)
        to_come: set[Key] = set()
        if unlogged:
            # What the ring holds behind the cursor was logged, and is not yet noted.
            cursor = 0 if self._source.is_final() else self._counter.ring.cursor(Cursor.LOG)
            to_come = {window.key for window in self._source.after(cursor)}
        self._log.pass_on([window for window in unlogged if window.key not in to_come])
        return unlogged

    def _taken(
        self, unlogged: list[Window], changed: list[Window]
    ) -> dict[tuple[str, Key], Receipt]:
        """Return the deliveries to the log that the ledger is to note."""
        if self._log is None:
            return {}
        found: dict[tuple[str, Key], Receipt] = {}
        if self._source.is_final():
            # An earlier leader may have logged windows of the ring and died before the note.
            logged, now = self._counter.ring.cursor(Cursor.LOG), self._clock.wall()
            for window in changed:
                if window.window_start <= logged:
                    found[LOG, window.key] = Receipt(now, window.revision)
        for window in (*unlogged, *changed):
            if (receipt := self._log.receipt(window)) is not None:
                found[LOG, window.key] = receipt
        return found

    def _report_missed(self, windows: list[Window], cursor: int) -> None:
        full = len(windows) >= RING_RECORDS - 1
        if full and cursor and windows[0].window_start > cursor + self._counter.window:
            events.LEDGER_MISSED.emit(first=cursor + self._counter.window)

    def _failed(self, error: LedgerError) -> float | None:
        if error.kind is LedgerFailure.DEPOSED:
            return None
        self.error = str(error)
        if error.kind is LedgerFailure.LOCKED and (process := self._holders.evict()):
            events.HOLDER_KILLED.emit(pid=process)
        if error.kind is LedgerFailure.DAMAGED and self._lease.holds():
            self.close()
            kept = ledger.set_aside(ledger.path_of(self._settings))
            events.LEDGER_SET_ASIDE.emit(kept=kept)
        if error.kind is LedgerFailure.BROKEN:
            self.close()
        if self._backoff.failed():
            events.LEDGER_DELAYED.emit(error=error, attempts=self._backoff.attempts)
        return self._backoff.remaining
