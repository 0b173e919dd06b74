"""A worker without file descriptors: each route answers, or says what is missing.

Nobody has asked the worker anything before but `/livez`, so nothing is read yet that a route reads
when it is asked for the first time.
"""

from __future__ import annotations

import contextlib
import resource
import socket
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.support.http.raw import parse, request
from tests.support.service import ACCEPT, Server
from verve.http import routes
from verve.ledger.ledger import FILE_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Serve
    from tests.support.http.raw import Answer
    from tests.support.service import Service

STREAM = "/api/verve/stream"
DISTINCT = "/api/verve/distinct"
SCRAPE = "/metrics"
_LIVE = b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n"
_LOWEST = 3
"""Standard input and output are open; no process gets a further descriptor below this number."""


@contextlib.contextmanager
def no_descriptors(service: Service) -> Iterator[None]:
    """No process of the service gets a further descriptor; those that are open stay so."""
    usual = {
        process: resource.prlimit(process, resource.RLIMIT_NOFILE)
        for process in service.processes()
    }
    try:
        for process, (_, hard) in usual.items():
            resource.prlimit(process, resource.RLIMIT_NOFILE, (_LOWEST, hard))
        yield
    finally:
        for process, limit in usual.items():
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(process, resource.RLIMIT_NOFILE, limit)


def connect(service: Service) -> socket.socket:
    """A connection that the worker has taken."""
    connection = socket.create_connection(("127.0.0.1", service.port), 20)
    connection.sendall(_LIVE)
    read_until(connection, b"\r\n\r\nlive")
    return connection


def read_until(connection: socket.socket, end: bytes) -> bytes:
    """What comes until it contains `end`, or until the connection ends."""
    received = bytearray()
    while end not in received and (part := connection.recv(65_536)):
        received += part
    return bytes(received)


def answer(connection: socket.socket, asked: bytes) -> Answer:
    """The answer to a request after which the server closes."""
    with connection:
        connection.sendall(asked)
        received = bytearray()
        while part := connection.recv(65_536):
            received += part
    return parse(bytes(received))


def begin(serve: Serve, server: Server, tmp_path: Path) -> Service:
    """A service that nobody has asked anything but `/livez`."""
    environment = {"VERVE_ARCHIVE": str(tmp_path / "ids")}
    # Long windows: none ends meanwhile.
    service = serve(server, start=False, window=3600, environment=environment)
    service.start(ready=False)

    def live() -> bool:
        with contextlib.suppress(httpx.TransportError):
            return service.get("/livez").is_success
        return False

    service.wait_until(live, 60, "live")
    ledger = service.state_directory / FILE_NAME
    # The leader's; without it there is nothing to read.
    service.wait_until(ledger.exists, 60, "with a ledger")
    return service


@pytest.mark.parametrize(
    "server",
    [Server.GRANIAN, Server.GRANIAN_ASGI, Server.UVICORN, Server.VERVE, Server.NATIVE],
)
def test_no_route_fails_for_want_of_a_descriptor(
    serve: Serve, tmp_path: Path, server: Server
) -> None:
    service = begin(serve, server, tmp_path)
    asked = {
        path: request("GET", f"{path}?since=0&until=60" if path == DISTINCT else path)
        for path in routes.ROUTES
        if path not in {ACCEPT, STREAM}
    }
    asked["one"] = request("GET", f"{ACCEPT}?id=1")
    asked["batch"] = request("POST", ACCEPT, [("content-type", "text/plain")], b"1\n2\n")
    with contextlib.ExitStack() as open_ones:
        connections = {name: open_ones.enter_context(connect(service)) for name in asked}
        stream = open_ones.enter_context(connect(service))
        with no_descriptors(service):
            stream.sendall(request("GET", STREAM, [("accept", "text/event-stream")]))
            found = {name: answer(one, asked[name]) for name, one in connections.items()}
            # The second one: the worker makes one each second.
            events = read_until(stream, b"event: figures") + read_until(stream, b"event: figures")
        read_until(stream, b"event: reset")
    status = {name: one.status for name, one in found.items()}
    assert {name for name, code in status.items() if code != 200} == {DISTINCT, SCRAPE}
    for name in (DISTINCT, SCRAPE):
        assert status[name] == 503
        assert b"hint" in found[name].body
    assert b"no file descriptors left" in found[SCRAPE].body
    assert b"</html>" in found["/"].body
    assert b"incomplete" in found["/api/verve/windows"].body
    assert events.count(b"event: figures") >= 2
    assert service.metrics()["verve_window_unique"] == 2
    with connect(service) as scrape, no_descriptors(service):
        assert answer(scrape, asked[SCRAPE]).status == 200
    for path in ("/", "/readyz", "/api/verve/windows"):
        assert service.get(path).is_success
    output = service.output()
    assert "could not be answered" not in output
    assert "event stream" not in output
