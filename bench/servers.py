"""The servers that are measured: how each is started, and how its count is asked for."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self

import build
import machine

PEERS = build.BENCH / "peers"
# One worker, and nothing that either side does without: the fast path alone is to differ.
GRANIAN = ["--interface", "rsgi", "--workers", "1", "--http", "1", "--no-ws", "--loop", "uvloop"]
COUNT_LINE = re.compile(r"Unique requests in the last minute: (\d+)$", re.MULTILINE)
PATIENCE = 20.0
"""Seconds that a server gets to start, to stop, or to show its count."""

Command = Callable[[int, int], list[str]]


class ServerError(RuntimeError):
    """A server did not do what it was told."""


@dataclass(frozen=True)
class Server:
    """A kind of server. `command` takes the port and the length of a window in seconds."""

    name: str
    title: str
    command: Command
    folder: Path = build.ROOT
    counts: bool = True
    """Whether it counts; the others show what answering costs."""
    answers_count: bool = False
    """Whether it is asked for its count over HTTP; the others log it when they stop."""
    environment: Mapping[str, str] = field(default_factory=dict)
    says: str = ""
    """What must stand in its log, for it to be what the title says."""


def _granian(target: str) -> Command:
    def command(port: int, _window: int) -> list[str]:
        address = ["--host", "127.0.0.1", "--port", str(port)]
        return [build.python_module("granian"), "-m", "granian", *GRANIAN, *address, target]

    return command


def _verve(port: int, window: int) -> list[str]:
    build.python_module("verve")
    return _granian("verve.app:app")(port, window)


def _hyper(port: int, _window: int) -> list[str]:
    return [str(build.program(build.HYPER)), f"127.0.0.1:{port}"]


def _gin(port: int, window: int) -> list[str]:
    program = build.go_program(PEERS / "gin")
    return [str(program), "-listen", f"127.0.0.1:{port}", "-window", f"{window}s"]


def _fastapi(port: int, _window: int) -> list[str]:
    build.python_module("fastapi")
    build.python_module("httptools")
    flags = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
    address = ["--host", "127.0.0.1", "--port", str(port)]
    return [build.python_module("uvicorn"), "-m", "uvicorn", *address, *flags, "app:app"]


SERVERS = {
    server.name: server
    for server in (
        Server(
            "verve",
            "Verve, fast path",
            _verve,
            answers_count=True,
            environment={"VERVE_FAST_PATH": "on"},
            says="Accepts are answered without the event loop",
        ),
        Server(
            "verve-rsgi",
            "Verve, fast path off",
            _verve,
            answers_count=True,
            environment={"VERVE_FAST_PATH": "off"},
        ),
        Server(
            "static",
            "Granian, static RSGI app",
            _granian("app:app"),
            folder=PEERS / "granian_static",
            counts=False,
        ),
        Server("gin", "Gin, sync.Map", _gin),
        Server("hyper", "bare hyper", _hyper, counts=False),
        Server("fastapi", "FastAPI, dict", _fastapi, folder=PEERS / "fastapi"),
    )
}


class Running:
    """A server that runs on one core, with state of its own that goes away with it."""

    def __init__(self, server: Server, core: int, window: int) -> None:
        self.server = server
        self.port = free_port()
        self._window = window
        self._core = core
        self._folder = tempfile.TemporaryDirectory(prefix="verve-bench-")
        self._log = Path(self._folder.name) / "log"
        self._segment = Path(f"/dev/shm/verve-bench-{os.getpid()}-{self.port}")  # noqa: S108
        self._output: IO[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("VERVE_")}
        environment = {
            **inherited,
            "PYTHONUNBUFFERED": "1",
            "PEER_WINDOW": str(self._window),
            "VERVE_WINDOW": str(self._window),
            "VERVE_STATE_DIR": str(Path(self._folder.name) / "state"),
            "VERVE_SEGMENT": str(self._segment),
            **self.server.environment,
        }
        command = self.server.command(self.port, self._window)
        self._output = self._log.open("wb")
        self._process = subprocess.Popen(
            machine.pinned([self._core], command),
            cwd=self.server.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            # A group of its own: its CPU time can be added up, and nothing of it stays behind.
            start_new_session=True,
        )
        try:
            self._await_answer()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def cpu_seconds(self) -> float:
        """CPU time of all of its processes so far."""
        return machine.group_cpu(self._running().pid)

    def count(self, expected: int) -> int:
        """The distinct ids of all windows, as the server tells them; some tell at their end.

        A service that publishes in the background gets some time to arrive at what is expected.
        """
        if not self.server.answers_count:
            self.stop()
            return sum(map(int, COUNT_LINE.findall(self.log())))
        end = time.monotonic() + PATIENCE / 4
        while (counted := self._ask()) != expected and time.monotonic() < end:
            time.sleep(0.05)
        return counted

    def stop(self) -> None:
        """End it as an operator would."""
        process = self._running()
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._kill()

    def close(self) -> None:
        """End it, whatever it does, and remove its state."""
        self._kill()
        if self._output is not None:
            self._output.close()
        self._folder.cleanup()
        for path in self._segment.parent.glob(f"{self._segment.name}*"):
            path.unlink(missing_ok=True)

    def log(self) -> str:
        """What it wrote so far."""
        return self._log.read_text(errors="replace")

    def is_as_titled(self) -> bool:
        """Whether its log says what its title promises."""
        return self.server.says in self.log()

    def _ask(self) -> int:
        current = self._json("/api/verve/current")
        closed = self._json("/api/verve/windows?limit=1440")
        return int(current["unique"]) + sum(int(window["unique"]) for window in closed["windows"])

    def _json(self, path: str) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if answer.status != http.HTTPStatus.OK:
            raise ServerError(f"{self.server.title} answers {answer.status}: `{path}`")
        found: dict[str, Any] = json.loads(body)
        return found

    def _await_answer(self) -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if self._running().poll() is not None:
                break
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.02)
        raise ServerError(
            f"{self.server.title} did not start; its output ends with:\n{self.log()[-2000:]}"
        )

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ServerError(f"{self.server.title} was not started")
        return self._process

    def _kill(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def free_port() -> int:
    """A port of the loopback that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
