"""Ten thousand connections that send a byte now and then, while others are served."""

from __future__ import annotations

import resource
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.support.http.raw import ask
from tests.support.service import ACCEPT, Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Serve

SLOW = 10_000
_SPARE = 500
ROUNDS, OTHERS = 5, 6


@pytest.fixture
def descriptors(scale: Callable[[int], int]) -> Iterator[int]:
    """The number of connections, for which this process and the service get descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = scale(SLOW)
    if hard < count + _SPARE:
        pytest.skip(f"{hard} descriptors are too few; hint: `ulimit -Hn {count + _SPARE}`")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count + _SPARE), hard))
    yield count
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    "server", [Server.NATIVE, Server.VERVE, Server.GRANIAN, Server.GRANIAN_ASGI, Server.UVICORN]
)
def test_slow_connections_hold_up_nobody(serve: Serve, descriptors: int, server: Server) -> None:
    environment = {
        # No limit of time or number ends them: what is tested is what they cost the others.
        "VERVE_HEAD_TIMEOUT": "110",
        "VERVE_KEEP_ALIVE": "110",
        "VERVE_MAX_CONNECTIONS": str(SLOW + _SPARE),
    }
    # Granian by itself takes 512 connections per worker: then it lets others wait.
    more = ["--backlog", "4096", "--backpressure", str(SLOW + _SPARE)]
    arguments = more if server in {Server.GRANIAN, Server.GRANIAN_ASGI} else []
    service = serve(server, window=3600, environment=environment, workers=2, arguments=arguments)
    with ExitStack() as stack:
        slow = []
        for number in range(descriptors):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", service.port), 30))
            line = f"GET {ACCEPT}?id={number} HTTP/1.1\r\n"
            one.sendall(f"{line}host: localhost\r\nconnection: close\r\nx: ".encode())
            slow.append(one)
        served = 0
        for at in range(ROUNDS):
            for one in slow:
                one.sendall(b"y")
            for other in range(OTHERS):
                id = descriptors + OTHERS * at + other
                assert ask(service, "GET", f"{ACCEPT}?id={id}").body == b"ok"
                served += 1
            assert service.get("/readyz").status_code == 200
        # And they are served themselves, once they have come to their end.
        for one in slow:
            one.sendall(b"\r\n\r\n")
        for one in slow:
            received = bytearray()
            while part := one.recv(4_096):
                received += part
            assert received.startswith(b"HTTP/1.1 200"), received
    assert service.metrics()["verve_window_unique"] == descriptors + served
