"""Many readers of the event stream, which take what comes or nothing at all."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from contextlib import suppress
from typing import Self

PATIENCE = 30.0
_REQUEST = b"GET /api/verve/stream HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
_FIGURES = b"event: figures"
_SMALL_BUFFER = 4096


class ReaderError(RuntimeError):
    """A stream was refused, or has ended."""


class StreamReaders:
    """`count` open streams of the server at `port`, for as long as the block lasts.

    With `read` a thread takes what comes. Otherwise nobody does, and the buffers of the sockets are
    as small as the system lets them be.
    """

    def __init__(self, port: int, count: int, *, read: bool = True) -> None:
        self._port = port
        self._count = count
        self._read = read
        self._sockets: list[socket.socket] = []
        self._thread = threading.Thread(target=self._take, name="readers", daemon=True)
        self._over = threading.Event()
        self._have_figures: set[int] = set()
        self.ended = 0
        """Streams that the server has ended."""

    def __enter__(self) -> Self:
        for _ in range(self._count):
            one = socket.socket()
            self._sockets.append(one)
            if not self._read:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER)
            one.settimeout(PATIENCE)
            one.connect(("127.0.0.1", self._port))
            one.sendall(_REQUEST)
        if self._read:
            self._thread.start()
            end = time.monotonic() + PATIENCE
            while len(self._have_figures) < self._count:
                if self.ended or time.monotonic() > end:
                    self.close()
                    raise ReaderError(
                        f"{len(self._have_figures)} of {self._count} streams are open"
                    )
                time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all streams."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()
        for one in self._sockets:
            one.close()

    def _take(self) -> None:
        with selectors.DefaultSelector() as selector:
            for one in self._sockets:
                one.settimeout(0)
                selector.register(one, selectors.EVENT_READ)
            while not self._over.is_set():
                for key, _ in selector.select(0.1):
                    self._take_from(key.fileobj, selector)  # type: ignore[arg-type]

    def _take_from(self, one: socket.socket, selector: selectors.BaseSelector) -> None:
        found = b""
        with suppress(BlockingIOError, ConnectionError):
            found = one.recv(1 << 18)
            if _FIGURES in found:
                self._have_figures.add(one.fileno())
        if not found:
            selector.unregister(one)
            self.ended += 1
