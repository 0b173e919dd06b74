"""Standard output and standard error that nobody reads: the service goes on, restarts and stops."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.pipes import readable
from tests.support.service import ACCEPT, Server, Service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REQUESTS = 10_000
"""More than can wait in two workers."""


class Unread:
    """A pipe that is full."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        self.fill()

    def fill(self) -> None:
        """Fill what has room."""
        # Through a description of its own: the service must find the pipe as others leave it.
        own = os.open(f"/proc/self/fd/{self.writer}", os.O_WRONLY | os.O_NONBLOCK)
        for size in (4096, 1):
            try:
                while True:
                    os.write(own, b"." * size)
            except BlockingIOError:
                continue
        os.close(own)

    def events(self, *until: str) -> list[dict[str, Any]]:
        """Read until each of these events has come; all that came.

        Processes write by themselves, so that events of different ones have no order.
        """
        found = b""
        missing = {f'"event": "{event}"'.encode() for event in until}
        deadline = time.monotonic() + 20
        while any(event not in found for event in missing) or not found.endswith(b"\n"):
            assert time.monotonic() < deadline, found[-500:]
            if not readable(self.reader, 1):
                continue
            found += os.read(self.reader, 1 << 20)
        lines = found.replace(b".{", b".\n{").splitlines()
        return [json.loads(line) for line in lines if line.startswith(b"{")]

    def close(self) -> None:
        """Close both ends."""
        os.close(self.reader)
        os.close(self.writer)


@pytest.fixture
def unread() -> Iterator[Unread]:
    made = Unread()
    yield made
    made.close()


def _request(service: Service, number: int) -> None:
    """Many requests over a few connections, without a wait between them."""
    head = f"GET {ACCEPT}?id=7 HTTP/1.1\r\nhost: x\r\n"
    for _ in range(10):
        one = f"{head}\r\n".encode() * (number // 10 - 1)
        last = f"{head}connection: close\r\n\r\n".encode()
        assert service.exchange(one + last, timeout=60).count(b" 200 OK") == number // 10


def test_a_service_that_nobody_reads(tmp_path: Path, unread: Unread) -> None:
    with Service(
        tmp_path,
        Server.VERVE,
        workers=2,
        window=1,
        arguments=["--access-log"],
        stdout=unread.writer,
        stderr=unread.writer,
    ) as service:
        # A worker that is killed is started again.
        before = service.workers()
        os.kill(before[0], signal.SIGKILL)
        service.wait_until(
            lambda: len(now := service.workers()) == 2 and before[0] not in now,
            20,
            "with a worker in the place of the one that was killed",
        )

        # Lines that are too many are counted, for the metric, too.
        _request(service, REQUESTS)
        name = 'verve_log_lost_lines_total{output="stdout"}'
        assert service.wait_until(lambda: service.metrics()[name], 10, "counting lost lines")
        assert service.metrics()['verve_log_lost_lines_total{output="stderr"}'] == 0

        # Windows wait; readiness, metrics and `verve check` say so.
        service.wait_until(
            lambda: service.get("/readyz").text == "ready, degraded: log behind", 10, "degraded"
        )
        part = service.get("/readyz?verbose").json()["parts"]["log"]
        assert part["trouble"] == "timeout"
        assert part["windows_waiting"] > 0
        assert "nobody reads it" in part["last_error"]
        assert service.metrics()['verve_log_failing{trouble="timeout"}'] == 1
        assert service.metrics()["verve_log_failed_attempts"] > 0
        checked = service.command("check")
        assert checked.returncode == 1
        assert re.search(r"^FAIL log .*nobody reads it", checked.stdout, re.MULTILINE)

        # A reader that comes back hears of it.
        events = unread.events("worker.respawned", "log.lost")
        lost = next(event for event in events if event["event"] == "log.lost")
        assert lost["output"] == "stdout"
        assert lost["lines"] > 0
        # Each window came, once, although nobody read for a while.
        events += unread.events("window.published")
        starts = [e["window_start"] for e in events if e["event"] == "window.published"]
        assert len(starts) == len(set(starts))
        assert starts == sorted(starts)

        service.wait_until(lambda: service.get("/readyz").text == "ready", 10, "ready again")
        assert service.metrics()["verve_log_failed_attempts"] == 0
        # Each line names its process, and its worker.
        assert {event["process"] for event in events} <= {service.pid, *before, *service.workers()}
        by_workers = [e for e in events if e["event"] == "window.published"]
        assert {event["worker"] for event in by_workers} <= {1, 2}

        unread.fill()
        assert service.stop(timeout=8) == 0


@pytest.mark.parametrize(
    ("server", "arguments"),
    [(Server.GRANIAN, ()), (Server.UVICORN, ("--log-level", "critical"))],
)
def test_the_logger_under_another_server(
    tmp_path: Path, unread: Unread, server: Server, arguments: tuple[str, ...]
) -> None:
    with Service(
        tmp_path,
        server,
        window=1,
        arguments=arguments,
        stdout=subprocess.DEVNULL,
        stderr=unread.writer,
    ) as service:
        assert service.get(f"{ACCEPT}?id=7").text == "ok"
        service.wait_until(service.windows, 5, "keeping a ledger")
        start = time.monotonic()
        service.stop(timeout=10)
        assert time.monotonic() - start < 8
