"""A proxy between Redis and its clients that delays and loses replies, or is away altogether."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable


class FaultProxy:
    """Forwards connections to a port of the loopback, in threads.

    `delay` is added to each reply, in seconds. `lose` is the probability that a reply is dropped
    and its connection closed: the server ran the command, and its client does not learn of it. A
    reply is the data of one read, with a pipeline the replies to all or some of its commands.
    """

    def __init__(self, port: int) -> None:
        self.delay = 0.0
        self.lose = 0.0
        self.lost = 0
        """The number of dropped replies."""
        self.change: Callable[[bytes], bytes] = bytes
        """What becomes of the bytes of a reply."""
        self._upstream = port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._cuts = threading.Event()
        self._away = threading.Event()
        self._pairs: set[_Pair] = set()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self.port = int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        """The URL for clients."""
        return f"redis://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        # Unlike `close`, this wakes the thread that waits in `accept`.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for pair in self._close():
            pair.join()

    def cut_replies(self, seconds: float = 0.05) -> None:
        """Drop all replies and close their connections for some time; requests still go through."""
        self._cuts.set()
        time.sleep(seconds)
        self._close()
        self._cuts.clear()

    def go_away(self) -> None:
        """Close all connections and take no others: no request reaches Redis until `come_back`."""
        self._away.set()
        self._close()

    def come_back(self) -> None:
        """Take connections again."""
        self._away.clear()

    def loses(self) -> bool:
        """Whether to drop this reply; counts the dropped replies."""
        with self._lock:
            lost = self._cuts.is_set() or random.random() < self.lose
            self.lost += lost
            return lost

    def _close(self) -> set[_Pair]:
        with self._lock:
            pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            pair.close()
        return pairs

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._away.is_set():
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._upstream), 5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            pair = _Pair(self, client, server)
            with self._lock:
                self._pairs = {one for one in self._pairs if one.is_alive()}
                self._pairs.add(pair)
            if self._over.is_set() or self._away.is_set():
                pair.close()
            pair.start()


class _Pair:
    """A connection of a client, and the matching connection to the server."""

    def __init__(self, proxy: FaultProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._open = 2
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._run, args=(body,), name="proxy", daemon=True)
            for body in (self._requests, self._replies)
        ]

    def start(self) -> None:
        """Start to forward."""
        for thread in self._threads:
            thread.start()

    def is_alive(self) -> bool:
        """Whether the pair may still forward data."""
        return self._open > 0

    def join(self) -> None:
        """Wait until both threads have ended."""
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(5)

    def close(self) -> None:
        """End both connections."""
        for one in (self._client, self._server):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _run(self, body: Callable[[], None]) -> None:
        with contextlib.suppress(OSError):
            body()
        self.close()
        with self._lock:
            self._open -= 1
            if not self._open:
                self._client.close()
                self._server.close()

    def _requests(self) -> None:
        while data := self._client.recv(1 << 16):
            self._server.sendall(data)

    def _replies(self) -> None:
        while data := self._server.recv(1 << 16):
            came = time.monotonic()
            # Short steps, so that the thread ends with the test.
            delay = self._proxy.delay
            while (left := came + delay - time.monotonic()) > 0 and self._client.fileno() >= 0:
                time.sleep(min(left, 0.1))
            if self._proxy.loses():
                return
            self._client.sendall(self._proxy.change(data))
