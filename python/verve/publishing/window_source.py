"""Where the log and the ledger get closed windows from: the ring, or what the cluster counted."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

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
"""How long after the grace a window is waited for that no leader looks at any more."""


def own_count(counter: Counter, sealed: Window) -> ClusterWindow:
    """A window of a host of a cluster as the host alone knows it: revision 0."""
    return ClusterWindow.of(
        sealed,
        unique=max(sealed.unique, counter.cluster_count(sealed.window_start) or 0),
        revision=0,
        degraded=True,
        delivers=False,
    )


class Feed(Protocol):
    """Gives windows in their order, and revisions of those that were given before."""

    def after(self, cursor: int) -> list[Window]:
        """The windows that start after `cursor` and are known, oldest first, none left out."""
        ...

    def behind(self, cursor: int, *, everything: bool) -> list[Window]:
        """Windows up to `cursor` that came again since `recorded`, or all that are remembered."""
        ...

    def recorded(self, windows: list[Window]) -> None:
        """The ledger has these."""

    def sinks_of(self, window: Window) -> tuple[str, ...]:
        """The sinks that are to get this revision from this host."""
        ...

    def is_final(self) -> bool:
        """Whether what it gives is never revised."""
        ...


class RingFeed:
    """A host that counts by itself: the records of the sealed ring."""

    def __init__(self, counter: Counter, settings: Settings) -> None:
        self._counter = counter
        self._sinks = settings.sinks

    def after(self, cursor: int) -> list[Window]:
        """The published windows that start after `cursor`."""
        return ring.windows_after(self._counter, cursor)

    def behind(self, cursor: int, *, everything: bool) -> list[Window]:
        """A ledger that was removed or set aside gets back what the ring holds."""
        if not everything:
            return []
        return [w for w in ring.windows_after(self._counter, 0) if w.window_start <= cursor]

    def recorded(self, windows: list[Window]) -> None:
        """They stay in the ring."""

    def sinks_of(self, window: Window) -> tuple[str, ...]:  # noqa: ARG002 - those of the port
        """All."""
        return self._sinks

    def is_final(self) -> bool:
        """A sealed window does not change."""
        return True


class ClusterFeed:
    """A host of a cluster: what the coordinator publishes, revision by revision.

    Windows are given in the order of the ring, so a window that waits for its record holds up those
    behind it; after a few seconds the coordinator publishes it with the host's own count. Any
    thread may call.
    """

    def __init__(self, counter: Counter, settings: Settings, wake: Callable[[], None]) -> None:
        """`wake` is called when there is something new."""
        self._counter = counter
        self._settings = settings
        self._wake = wake
        self._began = counter.now()
        self._lock = threading.Lock()
        self._windows: dict[int, ClusterWindow] = {}
        self._unrecorded: dict[int, ClusterWindow] = {}

    def publish(self, window: ClusterWindow) -> None:
        """Take a revision of a window; one that is known is news if it `delivers`."""
        start = window.window_start
        with self._lock:
            known = self._windows.get(start)
            if known is not None and (known.revision, known.delivers) > (
                window.revision,
                window.delivers,
            ):
                return
            self._windows[start] = self._unrecorded[start] = window
            for old in sorted(self._windows)[: -2 * ring.RECORDS]:
                del self._windows[old]
        self._wake()

    def known(self) -> list[Window]:
        """What the ledger holds of the windows of the ring, newest first."""
        try:
            return ledger.rows(ledger.path_of(self._settings), limit=ring.RECORDS)
        except ledger.LedgerError:
            return []

    def delivered(self, key: Key, revision: int) -> bool:
        """Whether the sinks of the cluster have this revision or a higher one, by the ledger."""
        path = ledger.path_of(self._settings)
        sinks = of_scope(self._settings, Scope.CLUSTER)
        try:
            return all(ledger.has_taken(path, sink, key, revision) for sink in sinks)
        except ledger.LedgerError:
            return False

    def after(self, cursor: int) -> list[Window]:
        """Those that are known without a break, by the windows of the ring."""
        found: list[Window] = []
        for sealed in ring.windows_after(self._counter, cursor):
            with self._lock:
                known = self._windows.get(sealed.window_start)
            window = known or self._forgotten(sealed)
            if window is None:
                break
            found.append(window)
        return found

    def _forgotten(self, sealed: Window) -> Window | None:
        """A window that was let go before it was recorded here, and that nobody tells of.

        Its leader died, and Redis is away or has lost the record: what the segment knows of it has
        to do, or it would hold up all that come after. Should its record show up, it is revised.
        """
        start, seconds = sealed.window_start, sealed.window_seconds
        since = max(self._began, start + seconds)
        patience = self._settings.cluster_grace + PATIENCE_SECONDS
        if start > self._counter.settled() or self._counter.now() - since < patience:
            return None
        return own_count(self._counter, sealed)

    def behind(self, cursor: int, *, everything: bool) -> list[Window]:
        """Revisions of windows that were given before."""
        with self._lock:
            found = self._windows if everything else self._unrecorded
            return [found[start] for start in sorted(found) if start <= cursor]

    def recorded(self, windows: list[Window]) -> None:
        """What came in the meantime stays to be recorded."""
        with self._lock:
            for window in windows:
                if self._unrecorded.get(window.window_start) is window:
                    del self._unrecorded[window.window_start]

    def sinks_of(self, window: Window) -> tuple[str, ...]:
        """All, if this host is the deliverer of the revision; else those that each host has."""
        if isinstance(window, ClusterWindow) and window.delivers:
            return self._settings.sinks
        return of_scope(self._settings, Scope.HOST)

    def is_final(self) -> bool:
        """A host that was away adds to what was published."""
        return False
