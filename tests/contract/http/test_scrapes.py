"""Metrics of several workers behind one port: each scrape may reach another of them."""

from __future__ import annotations

import itertools
import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.support.http import raw
from tests.support.service import ACCEPT, Server

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.conftest import Serve
    from tests.support.redis.server import RedisServer
    from tests.support.service import Service

SCRAPES = 60


def _raises(name: str) -> bool:
    return name.partition("{")[0].endswith("_total")


def _is_of_a_process(name: str) -> bool:
    return name.startswith(("verve_process_", "verve_listener_"))


def _watch(service: Service, scrapes: int) -> list[Mapping[str, float]]:
    """Scrape over new connections, with accepts between, and look at what must hold of each."""
    found: list[Mapping[str, float]] = [service.metrics()]
    for number in range(scrapes):
        service.get(f"{ACCEPT}?id={number}")
        service.get(f"{ACCEPT}?id=x")
        found.append(service.metrics())
    for before, after in itertools.pairwise(found):
        assert after.keys() == found[0].keys()
        fell = [name for name in after if _raises(name) and after[name] < before[name]]
        assert not fell, {name: (before[name], after[name]) for name in fell}
    return found


@pytest.mark.parametrize("server", [Server.VERVE, Server.UVICORN, Server.NATIVE])
def test_scrapes_of_two_workers_agree(serve: Serve, server: Server) -> None:
    # Windows of a second: their arenas are zeroed while the totals are read.
    service = serve(server, workers=2, window=1)
    found = _watch(service, SCRAPES)
    fast = 0 if server is Server.UVICORN else 2
    assert {one["verve_fast_path"] for one in found} == {fast}
    assert {one["verve_draining"] for one in found} == {0}
    for name in ("cpu_seconds_total", "resident_memory_bytes", "open_fds", "start_time_seconds"):
        for worker in service.workers():
            assert all(one[f'verve_process_{name}{{worker="{worker}"}}'] > 0 for one in found)
    rejected = 'verve_rejected_total{reason="id_invalid"}'
    assert found[-1][rejected] - found[0][rejected] == SCRAPES
    assert found[-1]["verve_ids_total"] - found[0]["verve_ids_total"] == SCRAPES


def test_each_scrape_shows_the_native_listeners_of_all_workers(serve: Serve) -> None:
    service = serve(Server.NATIVE, workers=2)
    workers = service.workers()
    found = _watch(service, SCRAPES)
    for worker in workers:
        assert all(f'verve_listener_connections{{worker="{worker}"}}' in one for one in found)

    def accepts() -> list[float]:
        """Those that each worker has answered, in both lanes."""
        lanes = f'verve_listener_accepts_total{{lane="%s",worker="{workers[0]}"}}'
        metrics = service.metrics()
        first = metrics[lanes % "accept"] + metrics[lanes % "hyper"]
        return [first, _listener_sum(metrics, "accepts_total") - first]

    service.wait_until(lambda: sum(accepts()) == 2 * SCRAPES, 10, "reported by both workers")
    # The kernel spreads connections over the workers.
    assert min(accepts()) > 0
    assert _listener_sum(service.metrics(), "other_requests_total") > SCRAPES
    with raw.connect(service), raw.connect(service):
        service.wait_until(
            lambda: _listener_sum(service.metrics(), "connections") >= 3, 10, "open connections"
        )


def _listener_sum(metrics: Mapping[str, float], name: str) -> float:
    """A figure of the native listeners, over all workers."""
    prefix = f"verve_listener_{name}{{"
    return sum(value for key, value in metrics.items() if key.startswith(prefix))


def test_totals_outlive_a_worker(serve: Serve) -> None:
    service = serve(Server.VERVE, workers=2)
    before = _watch(service, 10)
    os.kill(service.workers()[0], signal.SIGKILL)
    service.wait_until(lambda: len(service.workers()) == 2, 20, "two workers again")
    service.wait_ready()
    after = _watch(service, 10)
    shared = [{name for name in one[0] if not _is_of_a_process(name)} for one in (before, after)]
    assert shared[0] == shared[1]
    assert all(after[0][name] >= before[-1][name] for name in shared[0] if _raises(name))
    service.wait_until(lambda: service.metrics()["verve_fast_path"] == 2, 10, "both fast")


def test_what_workers_send_to_redis_is_the_hosts(
    serve: Serve, server: RedisServer, cluster: str
) -> None:
    environment = {"VERVE_REDIS_URL": server.url, "VERVE_CLUSTER": cluster}
    service = serve(Server.VERVE, workers=2, environment=environment)
    _watch(service, SCRAPES)

    def sent() -> bool:
        metrics = service.metrics()
        waiting = metrics["verve_worker_waiting_ids"]
        return metrics["verve_worker_sent_ids_total"] == SCRAPES and waiting == 0

    service.wait_until(sent, 10, "all ids of both workers counted as sent")


_BROKEN = """
import sys
import uvicorn
from verve import app
from verve.http import accept
from verve.service.running import RunningService

def broken(*_):
    raise RuntimeError("injected")

RunningService.accepter = property(broken)
accept._kind = broken
uvicorn.run(app.app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error")
"""


def test_a_500_is_counted(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "broken_service.py").write_text(_BROKEN, encoding="utf-8")
    service = serve(
        Server.PROGRAM,
        target="broken_service",
        environment={"PYTHONPATH": str(tmp_path)},
    )
    for _ in range(2):
        assert service.get(f"{ACCEPT}?id=7").status_code == 500
        assert service.post(content=b"7").status_code == 500
    metrics = service.metrics()
    assert metrics['verve_rejected_total{reason="internal"}'] == 4
    assert metrics["verve_errors_total"] == 4
    assert metrics["verve_ids_total"] == 0
