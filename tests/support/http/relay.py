"""A relay on the loopback that keeps what goes through it, each connection in both directions."""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import dataclass, field

from .accepting import Accepting


@dataclass(slots=True)
class Connection:
    """The bytes of one connection."""

    sent: bytearray = field(default_factory=bytearray)
    received: bytearray = field(default_factory=bytearray)


class Relay(Accepting):
    """Relays connections to a port for as long as the block lasts."""

    def __init__(self, upstream: int) -> None:
        super().__init__()
        self.connections: list[Connection] = []
        self._upstream = upstream

    def take(self, caller: socket.socket) -> None:
        """Relay a connection."""
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
