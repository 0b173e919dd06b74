"""Writes sealed windows to the ledger and queues them for the log, for one term of a leader.

Both read the same source. The log does not wait for the ledger, which may be stuck or full; the
ledger follows, and notes when the log took each window. Windows of the ledger that the log never
took (revisions, or windows from before a reboot) come first.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from verve.backoff import Backoff
from verve.ledger import ledger
from verve.ledger.ledger import LedgerError, LedgerFailure, Receipt
from verve.log import events
from verve.sinks import LOG
from verve.windows import ring

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from verve._verve import Counter
    from verve.config import Settings
    from verve.ledger.expiry import Dropped
    from verve.ledger.lock_holder import HolderWatch
    from verve.log.background import Notices
    from verve.windows.window import Key, Window

    from .window_source import WindowSource

LOG_CURSOR = 0
LEDGER_CURSOR = 1
REMOVAL_CURSOR = 2
"""No sink's: not 0 once the host was told that the file of its segment is gone."""
# A row and its log delivery go into one transaction when the log is no slower than this.
_LOG_PATIENCE = 0.3
_LOSSES_EVERY = 3_600.0


class Lease:
    """One term of leadership."""

    def __init__(self, counter: Counter, term: int) -> None:
        self._counter = counter
        self.term = term

    def holds(self) -> bool:
        """Whether this term is still that of the leader."""
        return self._counter.is_term(self.term)


class Deliveries:
    """What the log took, until the ledger has noted it, and what the ledger wants logged."""

    def __init__(self) -> None:
        self._times: dict[tuple[str, Key], Receipt] = {}
        self._logged: dict[Key, int] = {}
        self._left_over: list[Window] = []
        self._looked = False
        self._changed = threading.Condition()

    def note(self, window: Window) -> None:
        """The log took this window just now."""
        with self._changed:
            self._times[LOG, window.key] = Receipt(time.time(), window.revision)
            self._logged[window.key] = window.revision
            for old in list(self._logged)[: -2 * ring.RECORDS]:
                del self._logged[old]
            self._left_over = [left for left in self._left_over if not self._took(left)]
            self._changed.notify_all()

    def took(self, window: Window) -> bool:
        """Whether the log took this revision in this term, or a higher one."""
        with self._changed:
            return self._took(window)

    def _took(self, window: Window) -> bool:
        return self._logged.get(window.key, -1) >= window.revision

    def noted(self) -> dict[tuple[str, Key], Receipt]:
        """Deliveries that the ledger has not noted."""
        with self._changed:
            return dict(self._times)

    def forget(self, noted: dict[tuple[str, Key], Receipt]) -> None:
        """The ledger has noted these."""
        with self._changed:
            for key, value in noted.items():
                if self._times.get(key) == value:
                    del self._times[key]

    def wait_for(self, key: Key, timeout: float) -> None:
        """Wait a moment for the log to take this window."""
        with self._changed:
            self._changed.wait_for(lambda: (LOG, key) in self._times, timeout)

    def looked(self, left_over: list[Window] | None = None) -> None:
        """The ledger was asked for what the log never took; None when it could not be."""
        with self._changed:
            self._looked = True
            if left_over is not None:
                self._left_over = [left for left in left_over if not self._took(left)]
            self._changed.notify_all()

    def left_over(self, timeout: float) -> list[Window]:
        """What the log never took, once that is known; after `timeout` seconds it goes without."""
        with self._changed:
            self._changed.wait_for(lambda: self._looked, timeout)
            return list(self._left_over)


class LogQueue:
    """Where the worker of the log gets its windows."""

    def __init__(
        self, counter: Counter, source: WindowSource, lease: Lease, deliveries: Deliveries
    ) -> None:
        self._counter = counter
        self._source = source
        self._lease = lease
        self._deliveries = deliveries

    def pending(self) -> Iterator[Window]:
        """First what the ledger holds from before, then what the source has."""
        for window in self._deliveries.left_over(_LOG_PATIENCE):
            if self._lease.holds():
                yield window
        for window in self._source.after(self._counter.cursor(LOG_CURSOR)):
            # Asked again for each: a leader that was stopped must not repeat what another logged.
            if self._lease.holds() and window.window_start > self._counter.cursor(LOG_CURSOR):
                yield window

    def mark_taken(self, window: Window) -> bool:
        """Move the cursor on; a window from before the ring does not move it.

        One of another length may start when a window of the ring does, which is still to be logged.
        """
        self._deliveries.note(window)
        of_the_ring = window.window_seconds == self._counter.window
        if not of_the_ring or window.window_start <= self._counter.cursor(LOG_CURSOR):
            return self._lease.holds()
        return self._counter.advance_cursor(LOG_CURSOR, window.window_start, self._lease.term)


class DropReporter:
    """Tells of windows that were dropped before a sink took them: at once, and then every hour."""

    def __init__(self, notices: Notices) -> None:
        self._notices = notices
        self._untold: dict[str, Dropped] = {}
        self._told_at: float | None = None

    def add(self, dropped: Iterable[Dropped]) -> None:
        """These were dropped just now."""
        for one in dropped:
            before = self._untold.get(one.sink, one._replace(windows=0))
            self._untold[one.sink] = before._replace(windows=before.windows + one.windows)
        now = time.monotonic()
        if self._untold and (self._told_at is None or now - self._told_at >= _LOSSES_EVERY):
            self._told_at = now
            for one in self._untold.values():
                self._notices.put(
                    events.LEDGER_DROPPED, sink=one.sink, number=one.windows, first=one.first
                )
            self._untold.clear()


class LedgerWriter:
    """Writes the ledger from the source."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts of a term
        self,
        counter: Counter,
        source: WindowSource,
        settings: Settings,
        lease: Lease,
        deliveries: Deliveries,
        holders: HolderWatch,
        notices: Notices,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._counter = counter
        self._source = source
        self._wall = wall
        self._drops = DropReporter(notices)
        self._settings = settings
        self._lease = lease
        self._deliveries = deliveries
        self._holders = holders
        self._notices = notices
        self._ledger: ledger.Ledger | None = None
        self._caught_up = False
        self._backoff = Backoff(first=0.1, longest=2.0)
        self.error: str | None = None

    @property
    def attempts(self) -> int:
        """How many times in a row the ledger has failed."""
        return self._backoff.attempts

    def step(self) -> float | None:
        """Write what there is. Seconds until the next attempt, or None when all is done."""
        if remaining := self._backoff.remaining:
            return remaining
        try:
            self._write()
        except LedgerError as error:
            return self._failed(error)
        finally:
            self._deliveries.looked()
        self.error = None
        if failed := self._backoff.succeeded():
            self._notices.put(events.LEDGER_RECOVERED, attempts=failed)
        return None

    def close(self) -> None:
        """Close the ledger."""
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None

    def _write(self) -> None:
        opened = self._opened()
        logs = LOG in self._settings.sinks
        if logs and not self._caught_up:
            self._look_for_left_over(opened)
        cursor = self._counter.cursor(LEDGER_CURSOR)
        windows = self._source.after(cursor)
        self._tell_of_missed(windows, cursor)
        # Once a term all that is remembered: rows that are there already stay as they are, and a
        # ledger that was removed or set aside gets them back.
        again = self._source.behind(cursor, everything=not self._caught_up)
        if logs and windows and windows[-1].window_start > self._counter.cursor(LOG_CURSOR):
            self._deliveries.wait_for(windows[-1].key, _LOG_PATIENCE)
        noted = self._deliveries.noted()
        both = [*again, *windows]
        taken = self._taken(noted, both)
        if both or taken:
            opened.record(both, sinks=self._sinks, taken=taken, fence=self._lease.holds)
            self._deliveries.forget(noted)
            self._source.recorded(both)
            self._expire(opened)
        if windows:
            # With the log switched off its cursor goes along: switched on later, it begins there.
            for moved in (LEDGER_CURSOR,) if logs else (LEDGER_CURSOR, LOG_CURSOR):
                self._counter.advance_cursor(moved, windows[-1].window_start, self._lease.term)
        self._caught_up = True
        if logs:
            self._look_for_left_over(opened)

    def _expire(self, opened: ledger.Ledger) -> None:
        """Drop windows that are too old by both clocks: one that is wrong must not drop any."""
        now = int(min(self._counter.now(), self._wall()))
        self._drops.add(opened.expire(now, fence=self._lease.holds))

    @property
    def _sinks(self) -> Iterable[str] | Callable[[Window], Iterable[str]]:
        return self._settings.sinks if self._source.is_final() else self._source.sinks_of

    def _opened(self) -> ledger.Ledger:
        """The ledger, opened again if its file was removed or replaced."""
        if self._ledger is None or self._ledger.replaced:
            if self._ledger is not None:
                self._notices.put(events.LEDGER_REMOVED, path=self._ledger.path)
            self.close()
            self._ledger = ledger.open_ledger(self._settings)
            self._caught_up = False
        return self._ledger

    def _taken(
        self, noted: dict[tuple[str, Key], Receipt], windows: list[Window]
    ) -> dict[tuple[str, Key], Receipt]:
        """What was delivered."""
        if self._caught_up:
            return noted
        # The ledger may be new, or earlier leaders did not live to note it.
        logged, now = self._counter.cursor(LOG_CURSOR), time.time()
        is_final = self._source.is_final()
        return noted | {
            (LOG, window.key): Receipt(now, window.revision)
            for window in windows
            if (is_final and window.window_start <= logged) or self._deliveries.took(window)
        }

    def _look_for_left_over(self, opened: ledger.Ledger) -> None:
        """Find what is in the ledger, does not come by the source, and was never logged."""
        waiting = opened.undelivered(LOG)
        if waiting:
            cursor = 0 if self._source.is_final() else self._counter.cursor(LOG_CURSOR)
            to_come = {window.key for window in self._source.after(cursor)}
            waiting = [window for window in waiting if window.key not in to_come]
        self._deliveries.looked(waiting)

    def _tell_of_missed(self, windows: list[Window], cursor: int) -> None:
        full = len(windows) >= ring.RECORDS - 1
        if full and cursor and windows[0].window_start > cursor + self._counter.window:
            self._notices.put(events.LEDGER_MISSED, first=cursor + self._counter.window)

    def _failed(self, error: LedgerError) -> float | None:
        if error.kind is LedgerFailure.DEPOSED:
            return None
        self.error = str(error)
        if error.kind is LedgerFailure.LOCKED and (process := self._holders.evict()):
            self._notices.put(events.HOLDER_KILLED, pid=process)
        if error.kind is LedgerFailure.DAMAGED and self._lease.holds():
            self.close()
            kept = ledger.set_aside(ledger.path_of(self._settings))
            self._notices.put(events.LEDGER_SET_ASIDE, kept=kept)
        if error.kind is LedgerFailure.BROKEN:
            self.close()
        if self._backoff.failed():
            self._notices.put(events.LEDGER_DELAYED, error=error, attempts=self._backoff.attempts)
        return self._backoff.remaining
