"""A relay on the loopback that keeps what goes through it, each connection in both directions."""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import dataclass, field
from typing import Self


@dataclass(slots=True)
class Connection:
    """The bytes of one connection."""

    sent: bytearray = field(default_factory=bytearray)
    received: bytearray = field(default_factory=bytearray)


class Relay:
    """Relays connections to a port for as long as the block lasts."""

    def __init__(self, upstream: int) -> None:
        self.connections: list[Connection] = []
        self._upstream = upstream
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listening.getsockname()[1]
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._begin(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        # Wakes the thread that accepts.
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for thread in self._threads:
            thread.join(10)

    def _begin(self, run: object, *arguments: object) -> None:
        thread = threading.Thread(target=run, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._listening.accept()
            except OSError:
                return
            connection = Connection()
            self.connections.append(connection)
            server = socket.create_connection(("127.0.0.1", self._upstream), 10)
            for one in (caller, server):
                one.settimeout(60)
            self._begin(self._relay, caller, server, connection)

    def _relay(self, caller: socket.socket, server: socket.socket, connection: Connection) -> None:
        with caller, server:
            back = threading.Thread(
                target=_copy, args=(server, caller, connection.received), daemon=True
            )
            back.start()
            _copy(caller, server, connection.sent)
            back.join(60)


def _copy(source: socket.socket, target: socket.socket, kept: bytearray) -> None:
    """Copy until one of both ends; each direction ends for itself."""
    with contextlib.suppress(OSError):
        while part := source.recv(65_536):
            kept += part
            target.sendall(part)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
