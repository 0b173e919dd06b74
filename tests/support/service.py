"""A running Verve for tests: a real server in real processes, on a free port of the loopback.

    with Service(tmp_path, workers=4, window=2) as service:
        assert service.get("/api/verve/accept?id=7").text == "ok"
        os.kill(service.workers()[0], signal.SIGKILL)
        service.stop()
        assert [minute.unique for minute in service.minutes()] == [1]

Each service has its own state directory and segment. They outlive `stop` and `start`; `close`
removes the segment. It logs in JSON to a file, read by `lines`, `events` and `minutes`.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self, TypeVar

import httpx

from tests.support.network.ports import free_port
from verve import fields

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

ACCEPT = "/api/verve/accept"
_MINUTE = re.compile(r"Unique requests in the last minute: ([0-9]+)\Z")
_SAMPLE = re.compile(r"([a-z_]+)(?:\{(.*)\})? (\S+)")
# Unused. Without it, httpx creates one per request, which takes longer than the request.
_TLS = ssl.create_default_context()
_numbers = itertools.count()
T = TypeVar("T")


class Server(StrEnum):
    """The server that runs the application."""

    GRANIAN = "granian"
    GRANIAN_ASGI = "granian-asgi"
    UVICORN = "uvicorn"
    VERVE = "verve"
    NATIVE = "native"
    """`verve serve` with the native listener."""
    PROGRAM = "program"
    """A module of the test, named by `target`, that serves on the port in its first argument."""


class ServiceError(AssertionError):
    """The service failed; the message contains the end of its output."""


@dataclass(frozen=True, slots=True)
class Minute:
    """A line `Unique requests in the last minute: <unique>`, with the fields of its event."""

    window_start: int
    window_seconds: int
    unique: int
    fields: Mapping[str, Any]


class Service:
    """One service, started and stopped any number of times."""

    def __init__(  # noqa: PLR0913 - every one has a default
        self,
        directory: Path,
        server: Server = Server.GRANIAN,
        *,
        workers: int = 1,
        window: int = 60,
        max_ids: int = 1_000_000,
        fast_path: bool = True,
        target: str = "verve.app:app",
        arguments: Iterable[str] = (),
        environment: Mapping[str, str] | None = None,
        segment: Path | None = None,
        port: int | None = None,
        host: str = "127.0.0.1",
        command: Iterable[str] = (),
        stdout: int | None = None,
        stderr: int | None = None,
        token: str | None = None,
    ) -> None:
        """`arguments` go to the server, `host` too; `command` is a prefix, such as `taskset -c 0`.

        `stdout` and `stderr` are descriptors that replace the file; `token` is the token for
        metrics and history, if the service reads it from a file.
        """
        self.server = server
        self.worker_count = workers
        self.window = window
        self.port = free_port() if port is None else port
        self.host = host
        self.state_directory = directory / "state"
        self.segment = segment or _segment_path()
        self.output_path = directory / "output.log"
        directory.mkdir(parents=True, exist_ok=True)
        self._arguments = list(arguments)
        self._target = target
        self._command = list(command)
        self._given_token = token
        self._environment = {
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            "VERVE_WINDOW": str(window),
            "VERVE_STATE_DIR": str(self.state_directory),
            "VERVE_SEGMENT": str(self.segment),
            "VERVE_MAX_IDS_PER_WINDOW": str(max_ids),
            "VERVE_FAST_PATH": "on" if fast_path else "off",
            "VERVE_LOG_FORMAT": "json",
            "VERVE_LISTENER": "native" if server is Server.NATIVE else "granian",
            # No callback leaves the machine unless a test asks for it.
            "VERVE_CALLBACKS": "off",
            **(environment or {}),
        }
        self._output: IO[bytes] | None = None
        self._descriptors = (stdout, stderr)
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    # Start and stop

    def start(self, *, ready: bool = True, timeout: float = 30) -> Self:
        """Start the service and wait until all workers are ready; `ready=False` does not wait."""
        self._output = self.output_path.open("ab")
        stdout, stderr = self._descriptors
        self.process = subprocess.Popen(
            [*self._command, sys.executable, "-m", *self._server_command(), *self._arguments],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=self._output if stdout is None else stdout,
            stderr=self._output if stderr is None else stderr,
            # Its own process group, so that left-over processes can be found and ended.
            start_new_session=True,
        )
        atexit.register(self.kill)
        if ready:
            self.wait_ready(timeout)
        return self

    def wait_ready(self, timeout: float = 30) -> None:
        """Wait until `/readyz` is OK and as many processes as workers are attached."""

        def ready() -> bool:
            if self.process is None or self.process.poll() is not None:
                raise self.error("the service ended before it was ready")
            with contextlib.suppress(httpx.TransportError):
                return (
                    self.get("/readyz").status_code == httpx.codes.OK
                    and self.metrics().get("verve_processes", 0) >= self.worker_count
                )
            return False

        self.wait_until(ready, timeout, "ready")

    def stop(self, timeout: float = 20) -> int:
        """Stop the service by SIGTERM, as an operator would, and return its exit code."""
        process = self._running()
        process.terminate()
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise self.error(f"the service did not end within {timeout} s") from None
        self.kill()
        return code

    def wait_end(self, timeout: float = 20) -> int:
        """Wait until the service ends by itself, and return its exit code."""
        try:
            return self._running().wait(timeout)
        except subprocess.TimeoutExpired:
            raise self.error(f"the service goes on after {timeout} s") from None

    def kill(self) -> None:
        """End all of its processes at once, by SIGKILL."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        if self._output is not None:
            self._output.close()
            self._output = None
        atexit.unregister(self.kill)

    def close(self) -> None:
        """Stop the service and remove its segment."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
        self.kill()
        for path in self.segment.parent.glob(f"{self.segment.name}*"):
            path.unlink(missing_ok=True)

    def restart(self) -> None:
        """Stop and start, with the same state, segment and port."""
        self.stop()
        self.start()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the main process."""
        self._running().send_signal(number)

    # Processes

    @property
    def pid(self) -> int:
        """The main process."""
        return self._running().pid

    def processes(self) -> list[int]:
        """All live processes of this service, including orphans."""
        return [pid for pid in _processes() if _group(pid) == self.pid and _alive(pid)]

    def workers(self) -> list[int]:
        """The processes that have the segment mapped."""
        return [pid for pid in self.processes() if _maps(pid, self.segment)]

    def leader(self) -> int:
        """The process id of the leader; 0 while there is none."""
        return int(self.metrics()["verve_leader_process"])

    def command(
        self, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run `verve <arguments>` with the settings of this service, and `environment` over it."""
        done = subprocess.run(
            [sys.executable, "-m", "verve", *arguments],
            env={
                **self._environment,
                "VERVE_HOST": self.host,
                "VERVE_PORT": str(self.port),
                **(environment or {}),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in {0, 1}:
            raise self.error(f"verve {arguments} ended with {done.returncode}: {done.stderr}")
        return done

    # Requests

    def url(self, path: str = "") -> str:
        """The address of a path."""
        host = "::1" if self.host == "::" else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}{path}"

    def get(self, path: str, **options: Any) -> httpx.Response:  # noqa: ANN401 - httpx's own
        """GET over a new connection, which may reach any worker."""
        return httpx.get(self.url(path), verify=_TLS, trust_env=False, **options)

    def post(self, path: str = ACCEPT, **options: Any) -> httpx.Response:  # noqa: ANN401
        """POST over a new connection."""
        return httpx.post(self.url(path), verify=_TLS, trust_env=False, **options)

    def exchange(self, request: bytes, timeout: float = 10) -> bytes:
        """Send raw bytes, and return what the server sends until it closes the connection."""
        with socket.create_connection((self.host, self.port), timeout) as connection:
            connection.sendall(request)
            received = bytearray()
            with contextlib.suppress(ConnectionResetError):
                while chunk := connection.recv(65_536):
                    received += chunk
        return bytes(received)

    def metrics(self) -> dict[str, float]:
        """The samples of `/metrics`; one with a label is `name{label="value"}`."""
        found: dict[str, float] = {}
        for line in self.look("/metrics").text.splitlines():
            if sample := _SAMPLE.fullmatch(line):
                name = sample[1] if sample[2] is None else f"{sample[1]}{{{sample[2]}}}"
                found[name] = float(sample[3])
        return found

    def windows(self, limit: int = 1_440) -> list[dict[str, Any]]:
        """The closed windows by `/api/verve/windows`, newest first."""
        path = f"/api/verve/windows?limit={limit}"
        return list(self.look(path).json()["windows"])

    def look(self, path: str) -> httpx.Response:
        """GET of a guarded page, at the admin address if there is one."""
        admin = self._environment.get("VERVE_ADMIN_LISTEN")
        url = self.url(path) if admin is None else f"http://{admin}{path}"
        # Long: beside a load of full cores on a slow machine, an answer may take seconds.
        return httpx.get(url, verify=_TLS, trust_env=False, headers=self._token(), timeout=30)

    def _token(self) -> dict[str, str]:
        """The header that a service with a token requires."""
        token = self._given_token or self._environment.get("VERVE_ADMIN_TOKEN")
        return {} if token is None else {"authorization": f"Bearer {token.split(',')[0]}"}

    # Output

    def output(self) -> str:
        """The output of all of its processes, over all starts."""
        try:
            return self.output_path.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def lines(self) -> list[dict[str, Any]]:
        """The log lines of the logger `verve`."""
        found = []
        for line in self.output().splitlines():
            if line.startswith("{"):
                # A process that is killed while it writes leaves part of a line.
                with contextlib.suppress(ValueError):
                    found.append(json.loads(line))
        # Check every line of every test: a field has the same type in all events.
        if wrong := [(line, misfits) for line in found if (misfits := fields.misfits(line))]:
            raise ServiceError(f"fields that the table does not have so: {wrong[:3]}")
        return found

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log lines of one event."""
        return [line for line in self.lines() if line.get("event") == name]

    def minutes(self) -> list[Minute]:
        """The lines `Unique requests in the last minute: <n>`, in the order of the log."""
        found = []
        for line in self.lines():
            if match := _MINUTE.fullmatch(str(line.get("message", ""))):
                start = datetime.fromisoformat(line["window_start"])
                seconds = line["window_seconds"]
                found.append(Minute(int(start.timestamp()), seconds, int(match[1]), line))
        return found

    def wait_minute(self, window_start: int, timeout: float = 10) -> Minute:
        """Wait for the line of one window."""

        def logged() -> Minute | None:
            return next((m for m in self.minutes() if m.window_start == window_start), None)

        return self.wait_until(logged, timeout, f"logged window {window_start}")

    def wait_until(self, met: Callable[[], T | None], timeout: float, what: str) -> T:
        """Call `met` until its result is true, and return the result."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if found := met():
                return found
            time.sleep(0.02)
        raise self.error(f"not {what} within {timeout} s")

    def error(self, problem: str) -> ServiceError:
        """An error whose message contains the end of the output."""
        return ServiceError(f"{problem}; its output ends with:\n{self.output()[-4_000:]}")

    def _running(self) -> subprocess.Popen[bytes]:
        if self.process is None:
            raise ServiceError("the service was not started")
        return self.process

    def _server_command(self) -> list[str]:
        address = ["--host", self.host, "--port", str(self.port)]
        workers = ["--workers", str(self.worker_count)]
        match self.server:
            case Server.GRANIAN:
                return ["granian", *address, *workers, self._target]
            case Server.GRANIAN_ASGI:
                return ["granian", "--interface", "asgi", *address, *workers, self._target]
            case Server.UVICORN:
                return ["uvicorn", *address, *workers, self._target]
            case Server.PROGRAM:
                return [self._target, str(self.port)]
            case Server.VERVE | Server.NATIVE:
                return ["verve", "serve", *address, *workers]


def _segment_path() -> Path:
    shared_memory = Path("/dev/shm")  # noqa: S108 - where segments belong
    return shared_memory / f"verve-test-{os.getpid()}-{next(_numbers)}"


def _processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


def _alive(pid: int) -> bool:
    """Whether a process is more than a zombie."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] not in {"Z", "X"}


def _maps(pid: int, path: Path) -> bool:
    try:
        maps = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False
    return any(line.endswith(str(path)) for line in maps.splitlines())
