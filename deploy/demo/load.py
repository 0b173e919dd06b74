"""The load generator of the demo: it knows which ids it has sent in which window.

`verve-load` sends far more; this one keeps the ids by window while it runs, so that each count can
be compared as soon as it is published.
"""

from __future__ import annotations

import http.client
import random
import threading
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

_THREADS = 2
_TIMEOUT_SECONDS = 10.0
_EVERY_CALLBACK = 50
"""One request of so many names the receiver of callbacks."""


class Load:
    """Requests at a steady rate, while the block lasts."""

    def __init__(self, port: int, rate: float, ids: int, callbacks: str) -> None:
        """`rate` is in requests per second, the ids are random ones below `ids`."""
        self.requests = 0
        self.unanswered = 0
        """Requests of which nobody knows whether their ids were counted."""
        self._port = port
        self._rate = rate
        self._ids = ids
        self._callbacks = callbacks
        self._windows: dict[int, set[int]] = {}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(_THREADS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(_TIMEOUT_SECONDS)

    def unique(self, window_start: int) -> int:
        """The number of distinct ids that were answered with this window."""
        with self._lock:
            return len(self._windows.get(window_start, ()))

    def _run(self) -> None:
        randomness = random.Random()
        due = time.monotonic()
        while not self._over.is_set():
            connection = http.client.HTTPConnection(
                "127.0.0.1", self._port, timeout=_TIMEOUT_SECONDS
            )
            try:
                while not self._over.wait(max(0.0, due - time.monotonic())):
                    due = max(due + _THREADS / self._rate, time.monotonic() - 1)
                    self._request(connection, randomness.randrange(self._ids))
            except (OSError, http.client.HTTPException):
                with self._lock:
                    self.unanswered += 1
            finally:
                connection.close()

    def _request(self, connection: http.client.HTTPConnection, id: int) -> None:
        with self._lock:
            self.requests += 1
            wants_callback = self.requests % _EVERY_CALLBACK == 0
        endpoint = f"&endpoint={self._callbacks}" if wants_callback else ""
        connection.request("GET", f"/api/verve/accept?id={id}&verdict=1{endpoint}")
        answer = connection.getresponse()
        answer.read()
        if answer.status == 200:
            start = int(answer.headers["verve-window"])
            with self._lock:
                self._windows.setdefault(start, set()).add(id)
        elif answer.status != 503 or answer.headers.get("verve-error") in {
            None,
            "store unconfirmed",
        }:
            # HAProxy's own answer, perhaps: the id may be counted all the same.
            raise http.client.HTTPException
