"""A proxy for datagrams that loses some of them, or all."""

from __future__ import annotations

import random
import socket
import threading
from contextlib import suppress
from typing import Self

_LARGEST = 1 << 16


class DatagramProxy:
    """Forwards datagrams to a port of the loopback; `lose` is the probability of losing one."""

    def __init__(self, port: int) -> None:
        self.lose = 0.0
        self.lost = 0
        """The number of datagrams that were not forwarded."""
        self._upstream = ("127.0.0.1", port)
        self._away = threading.Event()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._forward, name="datagrams", daemon=True)
        self.port = int(self._socket.getsockname()[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # An empty datagram wakes the thread.
        self._socket.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join()
        self._socket.close()

    def go_away(self) -> None:
        """Lose all datagrams until `come_back`."""
        self._away.set()

    def come_back(self) -> None:
        """Forward datagrams again."""
        self._away.clear()

    def _forward(self) -> None:
        while data := self._socket.recv(_LARGEST):
            if self._away.is_set() or random.random() < self.lose:
                self.lost += 1
                continue
            with suppress(OSError):
                self._socket.sendto(data, self._upstream)
