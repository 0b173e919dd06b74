"""Answers of a worker that is not well, and what it says of its health."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from verve import Counter
from verve.config import load
from verve.http import health, routes
from verve.http.health import State
from verve.service.host_facts import Facts
from verve.service.worker import Worker

if TYPE_CHECKING:
    from pathlib import Path

    from verve.request.body_budget import Held
    from verve.request.exchange import Response


@dataclass
class Asked:
    """A request from this host."""

    path: str
    method: str = "GET"
    query: str | None = "id=7"
    content: bytes = b"7"
    peer: str = "127.0.0.1"
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "text/plain"})

    def header(self, name: str) -> list[str]:
        """All values."""
        return [self.headers[name]] if name in self.headers else []

    def hosts(self) -> list[str]:
        """Host headers."""
        return ["localhost"]

    async def body(self, limit: int, held: Held) -> bytes:
        """The body."""
        assert limit
        held.grow(len(self.content))
        return self.content


class Figures:
    """A counter that only tells its figures."""

    window = 60

    def __init__(self, *, free: int = 15, leads: bool = True, distrusted: int = 0) -> None:
        self._free = free
        self._leads = leads
        self._distrusted = distrusted

    def stats(self) -> dict[str, Any]:
        """What readiness looks at."""
        return {"arenas": {"free": self._free}, "clock_distrusted": self._distrusted}

    def leader(self) -> tuple[int, int, int, bool]:
        """The leader, alive or dead."""
        return (1, 0, 4711, self._leads)


def _ask(worker: Worker, path: str, method: str = "GET") -> Response:
    query = "" if method == "POST" or path != routes.ACCEPT else "id=7"
    return asyncio.run(routes.answer(worker, Asked(path, method, query)))


def _failed(response: Response) -> tuple[int, str, bytes]:
    headers = dict(response.headers)
    assert headers["content-type"] == "text/plain"
    assert headers["x-content-type-options"] == "nosniff"
    return response.status, dict(response.headers)["verve-error"], response.body


@pytest.fixture(params=["never attached", "closed"])
def broken(request: pytest.FixtureRequest) -> Worker:
    """Give a worker whose segment cannot be used."""
    worker = Worker()
    if request.param == "closed":
        worker.settings = load(environ={})
        worker.counter = Counter()
        worker.counter.close()
    return worker


def test_without_a_segment_nothing_is_counted(broken: Worker) -> None:
    for method in ("GET", "POST"):
        answer = _failed(_ask(broken, routes.ACCEPT, method))
        assert answer == (503, "segment unusable", b"failed")
    assert _ask(broken, routes.ACCEPT, "PUT").status in {405, 503}
    for path in ("/readyz", "/metrics", "/api/verve/current", "/api/verve/windows"):
        assert _ask(broken, path).status == 503
    assert _ask(broken, "/livez").status == 200


def test_a_bug_is_answered_too(caplog: pytest.LogCaptureFixture) -> None:
    worker = Worker()
    worker.counter = object()  # type: ignore[assignment]
    assert _failed(_ask(worker, routes.ACCEPT)) == (500, "internal", b"failed")
    answer = _ask(worker, "/metrics")
    assert answer.status == 500
    assert dict(answer.headers)["x-content-type-options"] == "nosniff"
    assert json.loads(answer.body)["error"]
    assert len(caplog.records) == 2
    assert all(record.exc_info for record in caplog.records)


@pytest.mark.parametrize(
    ("figures", "bad", "state"),
    [
        (Figures(), None, None),
        (Figures(free=0), "arenas", State.FAILED),
        (Figures(leads=False), "leader", State.FAILED),
        (Figures(distrusted=1), "clock", State.DEGRADED),
    ],
)
def test_readiness(
    monkeypatch: pytest.MonkeyPatch, figures: Figures, bad: str | None, state: State | None
) -> None:
    worker = Worker()
    worker.counter = figures  # type: ignore[assignment]
    monkeypatch.setattr(worker, "segment_in_place", lambda: True)
    states = {part.name: part.state for part in health.examine(worker, Facts())}
    assert {name: found for name, found in states.items() if found is not State.OK} == (
        {} if bad is None else {bad: state}
    )
    assert _ask(worker, "/readyz").status == (503 if state is State.FAILED else 200)
    worker.draining = True
    answer = _ask(worker, "/readyz")
    assert answer.status == 503
    assert answer.body.startswith(b"not ready: draining")


_PROGRAM = """
import asyncio, os, signal
from verve.http import routes
from verve.service.worker import Worker

async def main():
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    worker = Worker()
    assert worker.start()
    assert not worker.draining
    os.kill(os.getpid(), signal.SIGTERM)
    await ended.wait()
    assert worker.draining
    worker.stop()
    assert worker.counter is None

asyncio.run(main())
"""


def test_a_worker_drains_at_sigterm_and_the_server_still_hears_of_it(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "VERVE_STATE_DIR": str(tmp_path / "state"),
        "VERVE_SEGMENT": str(tmp_path / "segment"),
        "VERVE_MAX_IDS_PER_WINDOW": "1000",
    }
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
