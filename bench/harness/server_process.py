"""A server that runs for a measurement, with what it needs beside it."""

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
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from bench.harness import build, machine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.harness.servers import Server, Told

COUNT_LINE = re.compile(r"Unique requests in the last minute: (\d+)$", re.MULTILINE)
PATIENCE = 20.0
"""Seconds that a server gets to start, to stop, or to show its count."""


class ServerError(RuntimeError):
    """A server did not do what it was told."""


class Running:
    """A server on some cores, one worker a core, with state of its own that goes away with it."""

    def __init__(
        self,
        server: Server,
        cores: Sequence[int],
        window: int,
        redis_cores: Sequence[int] | None = None,
    ) -> None:
        """`redis_cores`: where its Redis runs, if not on the cores of the server."""
        self.server = server
        self._redis_cores = cores if redis_cores is None else redis_cores
        self.port = free_port()
        self._window = window
        self._cores = cores
        self._folder = tempfile.TemporaryDirectory(prefix="verve-bench-")
        self._log = Path(self._folder.name) / "log"
        self._segment = Path(f"/dev/shm/verve-bench-{os.getpid()}-{self.port}")  # noqa: S108
        self._output: IO[bytes] | None = None
        self._processes: list[subprocess.Popen[bytes]] = []
        self.started = 0.0
        """When it was told to start, by the monotonic clock."""

    def __enter__(self) -> Self:
        self._output = self._log.open("wb")
        try:
            arguments, told = self._start_redis()
            inherited = {k: v for k, v in os.environ.items() if not k.startswith("VERVE_")}
            environment = {
                **inherited,
                "PYTHONUNBUFFERED": "1",
                "PEER_WINDOW": str(self._window),
                "VERVE_WINDOW": str(self._window),
                "VERVE_STATE_DIR": str(Path(self._folder.name) / "state"),
                "VERVE_SEGMENT": str(self._segment),
                **self.server.environment,
                **told,
            }
            command = self.server.command(self.port, self._window, len(self._cores))
            self.started = time.monotonic()
            self._start([*command, *arguments], self.server.folder, environment, self._cores)
            self._await(self.port)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def cpu_seconds(self) -> float:
        """CPU time of all of its processes so far."""
        return sum(machine.group_cpu(process.pid) for process in self._processes)

    def cpu_seconds_exact(self) -> float:
        """The same, finer, of the threads that it has now."""
        return sum(machine.group_cpu_exact(process.pid) for process in self._processes)

    def resident_bytes(self) -> int:
        """Memory of all of its processes; what several share is counted once."""
        return sum(machine.group_memory(process.pid) for process in self._processes)

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

    def accept(self, id: int) -> None:
        """Send an id as soon as it is taken, and see that it is answered well."""
        self._until(PATIENCE, lambda: self._get(f"/api/verve/accept?id={id}") == b"ok")

    def stop(self) -> None:
        """End it as an operator would; what it needs goes on."""
        process = self._processes[-1]
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._kill(process)

    def close(self) -> None:
        """End it, whatever it does, and remove its state."""
        for process in reversed(self._processes):
            self._kill(process)
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

    def _start_redis(self) -> Told:
        """Start the Redis that the server needs, and give what tells the server of it."""
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
            # A group of its own: its CPU time can be added up, and nothing of it stays behind.
            start_new_session=True,
        )
        self._processes.append(process)

    def _ask(self) -> int:
        current = self._json("/api/verve/current")
        closed = self._json("/api/verve/windows?limit=1440")
        return int(current["unique"]) + sum(int(window["unique"]) for window in closed["windows"])

    def _json(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._get(path))
        return found

    def _get(self, path: str) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
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

        self._until(PATIENCE, connects)

    def _until(self, patience: float, done: Callable[[], bool]) -> None:
        """Ask again and again, while nobody listens yet."""
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
    """A port of the loopback that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
