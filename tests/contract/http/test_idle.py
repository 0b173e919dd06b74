"""Connections on which nothing comes: how long the server keeps them."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.support.http import raw
from tests.support.service import Server

if TYPE_CHECKING:
    import socket

    from tests.conftest import Serve

pytestmark = pytest.mark.alone(reason="judges when connections are closed")

KEPT = 2
_REQUEST = b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n"


def test_idle_connections_and_slow_heads_time_out(serve: Serve) -> None:
    service = serve(Server.VERVE, arguments=["--keep-alive", str(KEPT)])
    with ExitStack() as stack:
        idle, used, slow = (stack.enter_context(raw.connect(service)) for _ in range(3))
        for connection in (idle, used):
            _ask(connection)
        slow.sendall(_REQUEST[:-2])
        begun = time.monotonic()
        time.sleep(KEPT * 0.6)
        _ask(used)  # which begins its time anew
        for connection in (idle, slow):
            assert connection.recv(65_536) in {b"", b"HTTP/1.1 408 Request Timeout"}
            assert KEPT * 0.8 < time.monotonic() - begun < KEPT * 1.5
        _ask(used)


def _ask(connection: socket.socket) -> None:
    connection.sendall(_REQUEST)
    assert connection.recv(65_536).startswith(b"HTTP/1.1 200 OK")
