"""`verve check --ready`: what it imports, what it sends, and how it reads an answer."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from verve.commands import readiness
from verve.commands.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Peer:
    """A server that gives one answer, as the bytes of a test."""

    def __init__(self) -> None:
        self.answer = b""
        self.asked: list[bytes] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while not self._end.is_set():
            caller, _ = self._socket.accept()
            with caller:
                if self._end.is_set():
                    return
                self.asked.append(caller.recv(65_536))
                caller.sendall(self.answer)
                caller.shutdown(socket.SHUT_WR)
                caller.recv(1)

    def close(self) -> None:
        self._end.set()
        socket.create_connection(self._socket.getsockname()).close()
        self._thread.join()
        self._socket.close()


@pytest.fixture
def peer() -> Iterator[_Peer]:
    """A server on loopback."""
    found = _Peer()
    yield found
    found.close()


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nready", 0, "ok   service  ready: "),
        (b"HTTP/1.0 200 OK\r\n\r\nready, degraded: kafka", 0, "ok   service  ready, degraded"),
        (b"HTTP/1.1 503 x\r\nContent-Length: 9\r\n\r\nnot ready", 1, "FAIL service  not ready"),
        (b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", 1, "FAIL service  404"),
        (b"", 1, "FAIL service  no answer: the connection was closed"),
        (b"SSH-2.0-x\r\n", 1, "FAIL service  no answer: this is no HTTP/1"),
        (b"HTTP/1.1 200 OK\r\n\r\n\x1b[2J", 0, "ok   service  ?[2J"),
    ],
)
def test_answers(peer: _Peer, answer: bytes, status: int, said: str) -> None:
    peer.answer = answer
    found, text = readiness.check(f"{peer.url}/below", "", 10)
    assert (found, text[: len(said)]) == (status, said)
    assert peer.asked[0].startswith(b"GET /below/readyz HTTP/1.1\r\nhost: 127.0.0.1:")
    assert len(peer.asked) == 1


def test_a_service_that_is_silent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        found, text = readiness.check(url, "", 0.1)
    assert (found, "timed out" in text) == (1, True)


@pytest.mark.parametrize(
    "url", ["", "x", "ftp://h", "http://", "http://h:x", "http://h:70000", "http://h/a b", "http:/"]
)
def test_what_is_no_url(url: str) -> None:
    found, text = readiness.check(url, "", 1)
    assert (found, "no URL" in text) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "environ"),
    [
        ([], {}),
        (["--url", "http://h"], {}),
        (["--ready", "--help"], {}),
        (["--ready", "--config", "f"], {}),
        (["--ready", "--port"], {}),
        (["--ready", "--port", "0"], {}),
        (["--ready", "--timeout", "-1"], {}),
        (["--ready", "--timeout", "nan"], {}),
        (["--ready", "--timeout", "soon"], {}),
        (["--ready", "--at-admin"], {}),
        (["--ready", "--uds=s", "--url=http://h"], {}),
        (["--ready"], {"VERVE_CONFIG": "f"}),
        (["--ready"], {"VERVE_PORT": "tcp://10.0.0.1:8000"}),
    ],
)
def test_what_the_full_command_reads(arguments: list[str], environ: dict[str, str]) -> None:
    assert readiness.without_settings(arguments, environ) is None


@pytest.mark.parametrize(
    "arguments",
    [
        ["--timeout", "-1"],
        ["--at-admin"],
        ["--uds=s", "--url=http://h"],
        ["--cluster"],
        ["--json"],
    ],
)
def test_arguments_that_are_wrong(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VERVE_ADMIN_LISTEN", raising=False)
    assert CliRunner().invoke(main, ["check", "--ready", *arguments]).exit_code == 2


def test_options_that_need_ready() -> None:
    for option in (["--uds", "s"], ["--at-admin"]):
        assert CliRunner().invoke(main, ["check", *option]).exit_code == 2


@pytest.mark.parametrize("flags", [[], ["--admin=open"]], ids=["quick", "full"])
def test_both_ways_ask_the_same(peer: _Peer, flags: list[str]) -> None:
    peer.answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nready"
    port = peer.url.rpartition(":")[2]
    done = subprocess.run(
        [sys.executable, "-m", "verve", "check", "--ready", "--port", port, *flags],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == f"ok   service  ready: `{peer.url}/readyz`\n"
    assert len(peer.asked) == 1


def test_it_imports_little(peer: _Peer) -> None:
    """Its start is a few milliseconds above Python's: what takes longer is not imported."""
    peer.answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nready"
    code = (
        "import sys; before = set(sys.modules); from verve.commands.entry import main\n"
        "try: main()\n"
        "except SystemExit as end: assert end.code == 0\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    port = peer.url.rpartition(":")[2]
    done = subprocess.run(
        [sys.executable, "-c", code, "check", "--ready", "--port", port],
        check=True,
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("VERVE_")},
    )
    loaded = done.stdout.splitlines()[-1].split()
    ours = {"verve", "verve._verve", "verve.commands", "verve.commands.entry", "verve.platforms"}
    assert {one for one in loaded if one.startswith("verve")} == {*ours, readiness.__name__}
    slow = {"click", "httpx", "httpcore", "json", "ssl", "email", "http", "urllib", "re", "typing"}
    slow |= {"dataclasses", "pathlib", "sqlite3", "asyncio", "logging", "inspect", "unicodedata"}
    assert not slow & {one.partition(".")[0] for one in loaded}
