"""Log lines of threads that must not wait: a thread of its own writes them.

Standard error may be a pipe that nobody reads. Whoever renews the lease or writes the ledger goes
on all the same.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .log import Event

_MOST_WAITING = 1_000


class Notices:
    """Events that wait to be logged; the oldest go when too many wait."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Event, dict[str, Any]]] = deque(maxlen=_MOST_WAITING)
        self._changed = threading.Condition()
        self._writing = False
        self._thread: threading.Thread | None = None

    def put(self, event: Event, **values: Any) -> None:  # noqa: ANN401 - see Event.emit
        """Have an event logged soon."""
        with self._changed:
            self._waiting.append((event, values))
            self._changed.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._write, name="verve-notices", daemon=True
                )
                self._thread.start()

    def flush(self, timeout: float) -> bool:
        """Wait until all are written, at most `timeout` seconds; whether they are."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._writing, timeout)

    def _write(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting))
                event, values = self._waiting.popleft()
                self._writing = True
            event.emit(**values)
            with self._changed:
                self._writing = False
                self._changed.notify_all()
