"""Answers of a worker that is not well, and what it says of its health."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import rig
from tests.support.running import running_service
from verve import Counter
from verve.http import health, routes
from verve.http.health import State
from verve.publishing.leader import LeaderState
from verve.request.exchange import Entry
from verve.service import host_facts
from verve.service.host_facts import Facts

if TYPE_CHECKING:
    from pathlib import Path

    from verve.request.body_budget import Held
    from verve.request.exchange import Response
    from verve.service.running import RunningService


@dataclass
class Asked:
    """A request from this host."""

    path: str
    method: str = "GET"
    query: str | None = "id=7"
    content: bytes = b"7"
    peer: str = "127.0.0.1"
    entry: Entry = Entry.PUBLIC
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "text/plain"})

    def header(self, name: str) -> list[str]:
        """All values."""
        return [self.headers[name]] if name in self.headers else []

    def header_names(self) -> list[str]:
        """The names of all headers."""
        return list(self.headers)

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
        self.drain = SimpleNamespace(drained=lambda: 0)
        leader = SimpleNamespace(term=1, slot=0, process=4711, alive=leads)
        self.lease = SimpleNamespace(holder=lambda: leader)
        self._distrusted = distrusted

    def stats(self) -> dict[str, Any]:
        """What readiness looks at."""
        return {"arenas": {"free": self._free}, "clock_distrusted": self._distrusted}


class Publishing:
    """A leader whose windows are all in the ledger and in the log."""

    def state(self) -> LeaderState:
        """What readiness looks at."""
        return LeaderState(1, 0, 0, None, 0, ())


def _ask(service: RunningService | None, path: str, method: str = "GET") -> Response:
    query = "" if method == "POST" or path != routes.ACCEPT else "id=7"
    return asyncio.run(routes.answer(service, Asked(path, method, query)))


def _failed(response: Response) -> tuple[int, str, bytes]:
    headers = dict(response.headers)
    assert headers["content-type"] == "text/plain"
    assert headers["x-content-type-options"] == "nosniff"
    return response.status, dict(response.headers)["verve-error"], response.body


@pytest.fixture(params=["never attached", "closed"])
def broken(request: pytest.FixtureRequest, tmp_path: Path) -> RunningService | None:
    """Give a service whose segment cannot be used, or none."""
    if request.param == "never attached":
        return None
    counter = Counter()
    counter.close()
    return running_service(rig.settings(tmp_path), counter)


def test_without_a_segment_nothing_is_counted(broken: RunningService | None) -> None:
    for method in ("GET", "POST"):
        answer = _failed(_ask(broken, routes.ACCEPT, method))
        assert answer == (503, "segment unusable", b"failed")
    assert _ask(broken, routes.ACCEPT, "PUT").status in {405, 503}
    for path in ("/readyz", "/metrics", "/api/verve/current", "/api/verve/windows"):
        assert _ask(broken, path).status == 503
    assert _ask(broken, "/livez").status == 200


def test_a_bug_is_answered_too(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    service = running_service(rig.settings(tmp_path), object())  # type: ignore[arg-type]
    assert _failed(_ask(service, routes.ACCEPT)) == (500, "internal", b"failed")
    answer = _ask(service, "/metrics")
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
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    figures: Figures,
    bad: str | None,
    state: State | None,
) -> None:
    service = running_service(rig.settings(tmp_path), figures)  # type: ignore[arg-type]
    service = replace(service, leader=Publishing())  # type: ignore[arg-type]
    monkeypatch.setattr(host_facts, "segment_in_place", lambda _: True)
    states = {part.name: part.state for part in health.examine(service, Facts())}
    assert {name: found for name, found in states.items() if found is not State.OK} == (
        {} if bad is None else {bad: state}
    )
    assert _ask(service, "/readyz").status == (503 if state is State.FAILED else 200)
    service.termination.drain()
    answer = _ask(service, "/readyz")
    assert answer.status == 503
    assert answer.body.startswith(b"not ready: draining")


_PROGRAM = """
import asyncio, os, signal
from verve.http import routes
from verve.startup.worker import Worker

async def main():
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    worker = Worker()
    assert worker.start()
    assert not worker.termination.draining
    os.kill(os.getpid(), signal.SIGTERM)
    await ended.wait()
    assert worker.termination.draining
    worker.stop()
    assert worker.service is None

asyncio.run(main())
"""


def test_sigterm_drains_a_worker_and_still_reaches_the_server(tmp_path: Path) -> None:
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
