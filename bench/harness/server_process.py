"""A server that runs for one measurement, with its Redis if it needs one."""

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
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from bench.harness import build, machine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.harness.servers import RedisOptions, Server

COUNT_LINE = re.compile(r"Unique requests in the last minute: (\d+)$", re.MULTILINE)
TIMEOUT_SECONDS = 20.0
"""Seconds that a server has to start, to stop, or to show its count."""

_given: set[int] = set()


class ServerError(RuntimeError):
    """A server did not start, or answered with an error."""


class ServerProcess:
    """A server on some cores, with one worker per core. Its state is removed with it."""

    def __init__(
        self,
        server: Server,
        cores: Sequence[int],
        window: int,
        redis_cores: Sequence[int] | None = None,
        store: RedisOptions | None = None,
    ) -> None:
        """Start nothing yet. `redis_cores`: the cores of Redis, if not those of the server.

        `store`: the options for a store that runs already; without it, a server that needs Redis
        gets one of its own.
        """
        self.server = server
        self._store = store
        self._redis_cores = cores if redis_cores is None else redis_cores
        self.port = free_port()
        self._window = window
        self._cores = cores
        self._folder = tempfile.TemporaryDirectory(prefix="verve-bench-")
        self._log = Path(self._folder.name) / "log"
        self._segment = Path(f"/dev/shm/verve-bench-{os.getpid()}-{self.port}")  # noqa: S108
        self._output: IO[bytes] | None = None
        self._processes: list[subprocess.Popen[bytes]] = []
        self._begin: Callable[[], None] = lambda: None
        self.started = 0.0
        """The time of the start, by the monotonic clock."""

    def __enter__(self) -> Self:
        self._output = self._log.open("wb")
        try:
            arguments, redis_environment = self._start_redis()
            inherited = {k: v for k, v in os.environ.items() if not k.startswith("VERVE_")}
            environment = {
                **inherited,
                "PYTHONUNBUFFERED": "1",
                "PEER_WINDOW": str(self._window),
                "VERVE_WINDOW": str(self._window),
                "VERVE_STATE_DIR": str(Path(self._folder.name) / "state"),
                "VERVE_SEGMENT": str(self._segment),
                **self.server.environment,
                **redis_environment,
            }
            command = self.server.command(self.port, self._window, len(self._cores))
            self._begin = partial(
                self._start,
                [*command, *arguments],
                self.server.folder,
                environment,
                self._cores,
            )
            self.started = time.monotonic()
            self._begin()
            self._await(self.port)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def cpu_seconds(self) -> float:
        """Return the CPU time of all of its processes so far."""
        return sum(machine.group_cpu(process.pid) for process in self._processes)

    def cpu_seconds_exact(self) -> float:
        """Return the same with a finer clock, but of the present threads only."""
        return sum(machine.group_cpu_exact(process.pid) for process in self._processes)

    def resident_bytes(self) -> int:
        """Return the memory of all of its processes; shared pages count once."""
        return sum(machine.group_memory(process.pid) for process in self._processes)

    def count(self, expected: int) -> int:
        """Return the distinct ids of all windows, from answers or from the log.

        A service that publishes in the background has some time to reach `expected`.
        """
        if not self.server.answers_count:
            self.stop()
            return sum(map(int, COUNT_LINE.findall(self.log())))
        end = time.monotonic() + TIMEOUT_SECONDS / 4
        while (counted := self._ask()) != expected and time.monotonic() < end:
            time.sleep(0.05)
        return counted

    def windows(self) -> list[dict[str, Any]]:
        """Return the closed windows that the server publishes over HTTP."""
        found: list[dict[str, Any]] = self._json("/api/verve/windows?limit=1440")["windows"]
        return found

    def accept(self, id: int) -> None:
        """Send an id until it is answered `ok`."""
        self._until(TIMEOUT_SECONDS, lambda: self._get(f"/api/verve/accept?id={id}") == b"ok")

    def stop(self) -> None:
        """Stop the server as an operator would; its Redis goes on."""
        process = self._processes[-1]
        process.terminate()
        try:
            process.wait(TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self._kill(process)

    def restart(self, *, kill: bool = False) -> None:
        """Stop the server, with `kill` by SIGKILL, and start it again on its port and its state."""
        if kill:
            self._kill(self._processes[-1])
        else:
            self.stop()
        del self._processes[-1]
        self._begin()
        self._await(self.port)

    def close(self) -> None:
        """Kill the server and its Redis, and remove their state."""
        for process in reversed(self._processes):
            self._kill(process)
        if self._output is not None:
            self._output.close()
        self._folder.cleanup()
        for path in self._segment.parent.glob(f"{self._segment.name}*"):
            path.unlink(missing_ok=True)

    def log(self) -> str:
        """Return the output so far."""
        return self._log.read_text(errors="replace")

    def runs_as_titled(self) -> bool:
        """Whether the log holds the line that the title promises."""
        return self.server.expected_log in self.log()

    def _start_redis(self) -> RedisOptions:
        """Start the Redis that the server needs, and return the options that name it."""
        if self._store is not None:
            return self._store
        if self.server.redis is None:
            return [], {}
        port = free_port()
        self._start(build.redis(port), Path(self._folder.name), {}, self._redis_cores)
        self._await(port)
        return self.server.redis(port)

    def _start(
        self,
        command: list[str],
        folder: Path,
        environment: dict[str, str],
        cores: Sequence[int],
    ) -> None:
        process = subprocess.Popen(
            machine.pinned(cores, command),
            cwd=folder,
            env=environment or None,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            # A process group of its own: its CPU time can be added up, and all of it can be killed.
            start_new_session=True,
        )
        self._processes.append(process)

    def _ask(self) -> int:
        current = self._json("/api/verve/current")
        return int(current["unique"]) + sum(int(window["unique"]) for window in self.windows())

    def _json(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._get(path))
        return found

    def _get(self, path: str) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_SECONDS)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if answer.status != http.HTTPStatus.OK:
            raise ServerError(f"{self.server.title} answers {answer.status}: `{path}`")
        return body

    def _await(self, port: int) -> None:
        def connects() -> bool:
            with socket.create_connection(("127.0.0.1", port), 1):
                return True

        self._until(TIMEOUT_SECONDS, connects)

    def _until(self, patience: float, done: Callable[[], bool]) -> None:
        """Try until `done` is true, while the server does not listen yet."""
        end = time.monotonic() + patience
        while time.monotonic() < end and self._processes[-1].poll() is None:
            with suppress(OSError, http.client.HTTPException):
                if done():
                    return
            time.sleep(0.002)
        raise ServerError(
            f"{self.server.title} did not start; its output ends with:\n{self.log()[-2000:]}"
        )

    @staticmethod
    def _kill(process: subprocess.Popen[bytes]) -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    """Return a loopback port that no process listens on, and that no other call has returned."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = int(listener.getsockname()[1])
            # While it is open here, no other thread can get it.
            if port not in _given:
                _given.add(port)
                return port


def wait_for_port(port: int) -> None:
    """Wait until a process listens on a loopback port."""
    end = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < end:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise ServerError(f"nothing listens on port {port}")
