"""The event streams of a worker: how many there may be, and their end."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING

from .event_hub import Hub

if TYPE_CHECKING:
    from collections.abc import Callable

    from .event_hub import Reader, Source


class Streams:
    """At most `most` streams, each for at most `seconds`.

    Where workers are threads they share it, and each event loop has its own hub.
    """

    def __init__(self, most: int, seconds: float) -> None:
        self.most = most
        self._seconds = seconds
        self._open = 0
        self._lock = threading.Lock()
        self._hubs: dict[asyncio.AbstractEventLoop, Hub] = {}
        self._ended = False

    def read(self, source: Callable[[], Source], last: str | None) -> Reader | None:
        """Open a stream after the event of the id `last`; None if there is no room for one.

        `source` makes what the events come from, for the first stream of an event loop.
        """
        with self._lock:
            if self._is_ended() or self._open >= self.most:
                return None
            self._open += 1
        loop = asyncio.get_running_loop()
        hub = self._hubs.get(loop)
        if hub is None:
            hub = self._hubs[loop] = Hub(source())
        reader = hub.read(last, self._seconds, self._leave)
        if self._is_ended():
            # A signal came since, and may not have seen this hub.
            reader.end()
        return reader

    def end(self) -> None:
        """End all streams at once, and open no other. Takes no lock: a signal handler calls it."""
        self._ended = True
        self.end_open()

    def end_open(self) -> None:
        """End the streams that are open. Takes no lock."""
        for loop, hub in list(self._hubs.items()):
            with contextlib.suppress(RuntimeError):  # a loop that is closed
                loop.call_soon_threadsafe(hub.end)

    def _is_ended(self) -> bool:
        return self._ended

    def _leave(self) -> None:
        with self._lock:
            self._open -= 1
