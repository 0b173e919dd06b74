"""uvicorn in a program of its own, and the streams that a stop or a reader leaves open."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx

from tests.support.http.events import PATH, Events
from tests.support.network.tcp import connections

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# Serves until it reads a line. A head as long as this fills all buffers of uvicorn.
_PROGRAM = """
import socket, sys, threading
import uvicorn
from verve.app import app
from verve.http import stream
from verve.request import exchange

exchange.BLOCKED_SECONDS = 1.0
stream.HEADERS.append(("x-filler", "x" * int(sys.argv[1])))
listener = socket.create_server(("127.0.0.1", 0))
listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
thread.start()
print(listener.getsockname()[1], flush=True)
sys.stdin.readline()
app.end_streams()
server.should_exit = True
thread.join()
"""
PATIENCE = 30
LONG = 1 << 20


@contextmanager
def _embedded(directory: Path, filler: int) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A program with a server, and its address."""
    environment = {
        **os.environ,
        "VERVE_STATE_DIR": str(directory / "state"),
        "VERVE_SEGMENT": str(directory / "segment"),
        "VERVE_MAX_IDS_PER_WINDOW": "1000",
    }
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(filler)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        try:
            assert program.stdout is not None
            address = f"http://127.0.0.1:{int(program.stdout.readline())}"
            _wait(lambda: _is_ready(address))
            yield program, address
        finally:
            program.kill()


def _wait(met: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not met():
        assert time.monotonic() < end
        time.sleep(0.05)


def _is_ready(address: str) -> bool:
    return httpx.get(f"{address}/readyz", trust_env=False).status_code == 200


def _is_held(ends: tuple[int, int]) -> bool:
    """Whether the server has the connection: it has accepted it, and not closed it."""
    return any((one.local, one.remote) == ends and one.inode != "0" for one in connections())


def test_a_program_ends_the_streams_before_it_stops_the_server(tmp_path: Path) -> None:
    with _embedded(tmp_path, 0) as (program, address), Events(f"{address}{PATH}") as stream:
        stream.wait("figures")
        program.communicate("\n", timeout=PATIENCE)
        assert program.returncode == 0
        assert {event.name for event in stream} <= {"figures", "reset"}


def test_a_reader_that_takes_nothing_loses_its_connection(tmp_path: Path) -> None:
    with _embedded(tmp_path, LONG) as (program, address):
        port = httpx.URL(address).port or 0
        with socket.socket() as reader:
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.connect(("127.0.0.1", port))
            ends = port, reader.getsockname()[1]
            reader.sendall(f"GET {PATH} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
            _wait(lambda: _is_held(ends))
            _wait(lambda: not _is_held(ends))
        program.communicate("\n", timeout=PATIENCE)
        assert program.returncode == 0
