"""What answers everyone cannot use up what others need: threads, memory, time at a stop."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.http.raw import ask, request
from tests.support.service import ACCEPT, Server

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Serve
    from tests.support.service import Service

# The application, with a state directory and a segment's name that hang once a file is there. What
# hangs never comes back, as a read from a dead file server.
_HANGING = """
import os
import threading
from verve.status import cluster_status as membership; from verve.service import host_facts
from verve.ledger import ledger; from verve.publishing import sink_status as standing

def hanging(real):
    def call(*arguments, **options):
        if os.path.exists(os.environ["HANGS"]):
            threading.Event().wait()
        return real(*arguments, **options)
    return call

standing.of = hanging(standing.of)
membership.of = hanging(membership.of)
ledger.rows = hanging(ledger.rows)
host_facts.segment_in_place = hanging(host_facts.segment_in_place)

from verve.app import app
"""
PROBES = 60
_BODY = [("content-type", "text/plain")]


def _serve(serve: Serve, tmp_path: Path, server: Server) -> tuple[Service, Path]:
    (tmp_path / "hanging.py").write_text(_HANGING, encoding="utf-8")
    hangs = tmp_path / "hangs"
    environment = {
        "PYTHONPATH": str(tmp_path),
        "HANGS": str(hangs),
        "VERVE_KAFKA_BROKERS": "127.0.0.1:1",
    }
    # Long windows: none ends between a count and the look at it.
    return serve(server, target="hanging:app", environment=environment, window=3600), hangs


@pytest.mark.parametrize("server", [Server.GRANIAN, Server.UVICORN])
def test_probes_of_a_directory_that_hangs(serve: Serve, tmp_path: Path, server: Server) -> None:
    service, hangs = _serve(serve, tmp_path, server)
    hangs.touch()
    probes = []
    for path in ["/readyz", "/readyz?verbose"] * (PROBES // 2):
        probe = socket.create_connection(("127.0.0.1", service.port), 10)
        probe.sendall(request("GET", path))
        probes.append(probe)
    began = time.monotonic()
    for probe in probes:
        head = probe.recv(65_536)
        assert head.startswith(b"HTTP/1.1 200"), head
        probe.close()
    text = service.get("/readyz").text
    assert "files do not answer" in text
    told = service.get("/readyz?verbose").json()
    assert told["parts"]["files"] == {"state": "degraded", "detail": "files do not answer"}
    # What they take from others: nothing.
    assert ask(service, "POST", ACCEPT, _BODY, b"1\n2\n").status == 200
    assert service.get(f"{ACCEPT}?id=3").text == "ok"
    assert service.metrics()["verve_window_unique"] == 3
    assert service.get("/api/verve/current").json()["unique"] == 3
    assert service.get("/livez").text == "live"
    assert time.monotonic() - began < 8
    began = time.monotonic()
    service.stop()
    assert time.monotonic() - began < 6


def test_history_that_hangs_holds_up_nothing_else(serve: Serve, tmp_path: Path) -> None:
    service, hangs = _serve(serve, tmp_path, Server.GRANIAN)
    hangs.touch()
    readers = []
    for _ in range(PROBES):
        reader = socket.create_connection(("127.0.0.1", service.port), 10)
        reader.sendall(request("GET", "/api/verve/windows"))
        readers.append(reader)
    assert ask(service, "POST", ACCEPT, _BODY, b"1\n2\n").status == 200
    assert service.metrics()["verve_window_unique"] == 2
    assert service.get("/readyz").status_code == 200
    for reader in readers:
        reader.settimeout(20)
        assert reader.recv(65_536).startswith(b"HTTP/1.1 503")
        reader.close()
    began = time.monotonic()
    service.stop()
    assert time.monotonic() - began < 6


_LENGTHS = ["transfer-encoding: chunked", "content-length: 8388608"]


@pytest.mark.parametrize("length", _LENGTHS)
def test_bodies_that_do_not_come_lock_nobody_out(service: Service, length: str) -> None:
    length = length.replace("8388608", "65536")
    head = f"POST {ACCEPT} HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\n{length}"
    first = b"1\r\n7\r\n" if "chunked" in length else b"7"
    slow = []
    for _ in range(40):
        connection = socket.create_connection(("127.0.0.1", service.port), 10)
        connection.sendall(head.encode() + b"\r\n\r\n" + first)
        slow.append(connection)
    try:
        for _ in range(3):
            answer = ask(service, "POST", ACCEPT, _BODY, b"1\n2\n")
            assert (answer.status, answer.error) == (200, None)
    finally:
        for connection in slow:
            connection.close()


@pytest.mark.parametrize(
    "path", ["/livez", "/readyz", "/metrics", "/api/verve/current", "/api/verve/windows", ACCEPT]
)
def test_options_names_the_methods(service: Service, path: str) -> None:
    answer = ask(service, "OPTIONS", path, host="elsewhere.example")
    allowed = "GET, POST" if path == ACCEPT else "GET, HEAD"
    assert (answer.status, answer.headers["allow"]) == (405, allowed)
