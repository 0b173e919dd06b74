"""`verve drain` while workers die, the service restarts, load goes on and Redis hangs."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.support.redis.server import RedisServer
from tests.support.service import ACCEPT, Server

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.conftest import Serve, StartLoad
    from tests.support.service import Service

DRAINING = "not ready: draining, as `verve drain` asked"
SERVERS = (Server.VERVE, Server.NATIVE)


def _is_draining(service: Service) -> bool:
    """Whether all answers say so; a host whose leader was killed adds that it has none."""
    answers = [service.get("/readyz") for _ in range(16)]
    return all(a.status_code == 503 and a.text.startswith(DRAINING) for a in answers)


def _drain(service: Service, *arguments: str) -> subprocess.CompletedProcess[str]:
    return service.command("drain", *arguments)


@pytest.mark.parametrize("server", SERVERS)
def test_the_successor_of_a_killed_worker_drains_too(server: Server, serve: Serve) -> None:
    service = serve(server, workers=2, window=3600)
    assert _drain(service).returncode == 0
    for _ in range(2):
        before = service.workers()
        assert len(before) == 2
        os.kill(before[0], signal.SIGKILL)

        def replaced(before: list[int] = before) -> bool:
            now = service.workers()
            return len(now) == 2 and before[0] not in now

        service.wait_until(replaced, 20, "a successor")
        service.wait_until(lambda: _is_draining(service), 20, "an answer of each worker")
    assert service.get(f"{ACCEPT}?id=7").text == "ok"
    done = _drain(service, "--wait", "--timeout", "20")
    assert done.returncode == 0, done.stderr
    assert _is_draining(service)


@pytest.mark.parametrize("server", [*SERVERS, Server.GRANIAN, Server.UVICORN])
def test_a_restart_ends_the_drain(server: Server, serve: Serve) -> None:
    service = serve(server, workers=2, window=3600)
    assert _drain(service).returncode == 0
    assert _is_draining(service)
    service.restart()  # it waits until the service is ready
    assert _drain(service, "--undo").stderr == "the service does not drain\n"
    assert _drain(service).returncode == 0
    service.kill()
    service.start()
    assert service.get(f"{ACCEPT}?id=7").text == "ok"


def test_waiting_while_load_goes_on_and_after_it(serve: Serve, start_load: StartLoad) -> None:
    service = serve(Server.VERVE, workers=2, window=3600)
    load = start_load(service, "--connections", "8", "--ids", "uniform:100000")
    service.wait_until(lambda: service.metrics()["verve_ids_total"], 10, "load")
    done = _drain(service, "--wait", "--timeout", "3")
    assert done.returncode == 1
    assert "the service is not drained after 3 s: it accepted ids 0." in done.stderr
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(_drain, service, "--wait", "--timeout", "60")
        result = load.stop()
        stopped = time.monotonic()
        done = waiting.result()
    assert done.returncode == 0, done.stderr
    assert done.stderr.endswith("the service is drained\n")
    # It looks ten times per second, and may have seen the last accept a look before the stop.
    assert time.monotonic() - stopped > 1
    assert not result.faults


def test_requests_that_wait_for_redis(serve: Serve, tmp_path: Path) -> None:
    with RedisServer(tmp_path / "redis") as redis:
        service = serve(
            Server.VERVE,
            workers=2,
            window=3600,
            environment={
                "VERVE_ACK": "store",
                "VERVE_CLUSTER": "service-drain",
                "VERVE_REDIS_URL": redis.url,
            },
        )
        assert _drain(service).returncode == 0
        redis.pause()
        over = threading.Event()

        def keep_waiting(id: int) -> None:
            # Each is refused after a while, and sent again.
            while not over.is_set():
                service.get(f"{ACCEPT}?id={id}", timeout=20)

        with ThreadPoolExecutor(2) as pool:
            clients = [pool.submit(keep_waiting, id) for id in (1, 2)]
            try:
                service.wait_until(
                    lambda: "2 requests wait for the store" in _look(service), 20, "waits"
                )
            finally:
                over.set()
                redis.resume()
            for client in clients:
                client.result()
        done = _drain(service, "--wait", "--timeout", "30")
        assert done.returncode == 0, done.stderr


def _look(service: Service) -> str:
    done = _drain(service, "--wait", "--timeout", "0.2")
    assert done.returncode == 1
    return done.stderr
