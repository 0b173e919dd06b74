"""Sources of windows for the log and the ledger: the ring of the host, or a cluster's counts."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

from verve._verve import RING_RECORDS
from verve.cluster.cluster_window import ClusterWindow
from verve.ledger import ledger
from verve.sinks import Scope, of_scope
from verve.windows import ring

if TYPE_CHECKING:
    from collections.abc import Callable

    from verve._verve import Counter
    from verve.config import Settings
    from verve.windows.window import Key, Window

PATIENCE_SECONDS = 10
"""Seconds after the grace until a window that no leader follows gets a provisional count."""


def provisional_count(counter: Counter, sealed: Window) -> ClusterWindow:
    """The count of a window of a cluster as this host alone knows it: revision 0."""
    return ClusterWindow.of(
        sealed,
        unique=max(sealed.unique, counter.replication.cluster_count(sealed.window_start) or 0),
        revision=0,
        degraded=True,
        delivers=False,
    )


class WindowSource(Protocol):
    """Gives windows in order, and later revisions of windows that it gave before."""

    def after(self, cursor: int) -> list[Window]:
        """Return the windows that start after `cursor`, oldest first, up to the first unknown."""
        ...

    def behind(self, cursor: int, *, everything: bool) -> list[Window]:
        """Return windows up to `cursor`: `everything`, or those that are not yet `recorded`."""
        ...

    def recorded(self, windows: list[Window]) -> None:
        """Note that the ledger has these revisions."""
        ...

    def sinks_of(self, window: Window) -> tuple[str, ...]:
        """Return the names of the sinks to which this host publishes this revision."""
        ...

    def is_final(self) -> bool:
        """Whether no window is ever revised."""
        ...


class RingSource:
    """The sealed ring of a host that counts alone."""

    def __init__(self, counter: Counter, settings: Settings) -> None:
        self._counter = counter
        self._sinks = settings.sinks

    def after(self, cursor: int) -> list[Window]:
        """Return the windows of the ring that start after `cursor`."""
        return ring.windows_after(self._counter, cursor)

    def behind(self, cursor: int, *, everything: bool) -> list[Window]:
        """Return what the ring holds, for a ledger that was removed or set aside."""
        if not everything:
            return []
        return [w for w in ring.windows_after(self._counter, 0) if w.window_start <= cursor]

    def recorded(self, windows: list[Window]) -> None:
        """Do nothing: windows stay in the ring."""

    def sinks_of(self, window: Window) -> tuple[str, ...]:  # noqa: ARG002 - those of the port
        """Return all sinks."""
        return self._sinks

    def is_final(self) -> bool:
        """A sealed window does not change."""
        return True


class ClusterSource:
    """The counts of a cluster, revision by revision, as its coordinator adds them.

    Windows are given in the order of the ring, so a window without a record holds up those after
    it; the coordinator adds a provisional count after a few seconds. Any thread may call.
    """

    def __init__(self, counter: Counter, settings: Settings, wake: Callable[[], None]) -> None:
        """`wake` is called after each revision that is added."""
        self._counter = counter
        self._settings = settings
        self._wake = wake
        self._began = counter.now()
        self._lock = threading.Lock()
        self._windows: dict[int, ClusterWindow] = {}
        self._unrecorded: dict[int, ClusterWindow] = {}

    def add(self, window: ClusterWindow) -> None:
        """Add a revision of a window. A known one replaces itself if it now `delivers`."""
        start = window.window_start
        with self._lock:
            known = self._windows.get(start)
            if known is not None and (known.revision, known.delivers) > (
                window.revision,
                window.delivers,
            ):
                return
            self._windows[start] = self._unrecorded[start] = window
            for old in sorted(self._windows)[: -2 * RING_RECORDS]:
                del self._windows[old]
        self._wake()

    def known(self) -> list[Window]:
        """Return the windows of the ring that the ledger holds, newest first."""
        try:
            return ledger.rows(ledger.path_of(self._settings), limit=RING_RECORDS)
        except ledger.LedgerError:
            return []

    def is_delivered(self, key: Key, revision: int) -> bool:
        """Whether the ledger says that all sinks of scope `CLUSTER` took this revision."""
        path = ledger.path_of(self._settings)
        sinks = of_scope(self._settings, Scope.CLUSTER)
        try:
            return all(ledger.has_taken(path, sink, key, revision) for sink in sinks)
        except ledger.LedgerError:
            return False

    def after(self, cursor: int) -> list[Window]:
        """Return the windows with a known count, up to the first window of the ring without."""
        found: list[Window] = []
        for sealed in ring.windows_after(self._counter, cursor):
            with self._lock:
                known = self._windows.get(sealed.window_start)
            window = known or self._abandoned(sealed)
            if window is None:
                break
            found.append(window)
        return found

    def _abandoned(self, sealed: Window) -> Window | None:
        """Return the provisional count of a released window of which no record can be read.

        Its leader died, and Redis is away or lost the record. Without a count from the segment it
        would hold up all later windows. If the record appears later, it revises this count.
        """
        start, seconds = sealed.window_start, sealed.window_seconds
        since = max(self._began, start + seconds)
        patience = self._settings.cluster_grace + PATIENCE_SECONDS
        if start > self._counter.retention.settled() or self._counter.now() - since < patience:
            return None
        return provisional_count(self._counter, sealed)

    def behind(self, cursor: int, *, everything: bool) -> list[Window]:
        """Return revisions of windows that were given before."""
        with self._lock:
            found = self._windows if everything else self._unrecorded
            return [found[start] for start in sorted(found) if start <= cursor]

    def recorded(self, windows: list[Window]) -> None:
        """Forget these revisions; later ones, added meanwhile, stay to be recorded."""
        with self._lock:
            for window in windows:
                if self._unrecorded.get(window.window_start) is window:
                    del self._unrecorded[window.window_start]

    def sinks_of(self, window: Window) -> tuple[str, ...]:
        """Return all sinks if this host is the deliverer, else those of scope `HOST`."""
        if isinstance(window, ClusterWindow) and window.delivers:
            return self._settings.sinks
        return of_scope(self._settings, Scope.HOST)

    def is_final(self) -> bool:
        """A host that was away adds to an earlier count."""
        return False
