"""`kill -9` of parts of a service and of all of it, under load.

Nothing that was acknowledged may be missing, nothing may be counted that was not sent, and every
window must be published.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.support import records
from tests.support.service import Server
from tests.support.service_observer import Observer
from tests.support.timing import sleep_clear_of_boundary, sleep_into_window, window_at
from tests.support.witnesses import assert_new_once, settled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from tests.conftest import Serve, StartLoad
    from tests.support.service import Service

WORKERS = 4
LOAD = ("--connections", "64", "--ids", "uniform:100000", "--timeout", "5")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("server", [Server.VERVE, Server.NATIVE])
def test_workers_killed_at_random(
    server: Server, serve: Serve, start_load: StartLoad, scale: Callable[[int], int]
) -> None:
    service = serve(server, workers=WORKERS, window=2)
    kills = scale(40)
    with Observer(service) as observer:
        load = start_load(service, *LOAD)
        for number in range(kills):
            # At least one worker always serves, and has done so for a while or just begun to.
            _await_workers(service, WORKERS if number % 3 else 2)
            time.sleep(random.uniform(0, 0.5))
            victims = service.workers()
            leader = observer.counter.lease.holder()
            if leader is not None and leader.process in victims and number % 2:
                victims = [leader.process]
            os.kill(random.choice(victims), signal.SIGKILL)
        _await_workers(service, WORKERS)
        result = load.stop()
        last = result.records.windows()[-1]
        counted = observer.finish(last)

    faults = {"closed", "reset", "connect", "timeout"}
    assert set(result.faults) <= faults, "somebody answered wrongly"
    assert len(service.events("worker.respawned")) == kills
    _assert_kept(service, result.records, counted)


@pytest.mark.timeout(300)
def test_all_killed_at_once_and_started_again_in_the_same_window(
    serve: Serve, start_load: StartLoad, scale: Callable[[int], int]
) -> None:
    service = serve(Server.VERVE, workers=WORKERS, window=10)
    rounds = 0
    for _ in range(3 * scale(10)):
        sleep_into_window(service.window, 0.1)
        load = start_load(service, *LOAD)
        time.sleep(random.uniform(0.4, 1.4))
        # With nobody at the segment, not even an observer.
        service.kill()
        killed_in = window_at(service.window)
        service.start()
        with Observer(service) as observer:
            _await_requests(service)
            result = load.stop()
            last = result.records.windows()[-1]
            counted = observer.finish(last, service.window + 5)
        _assert_kept(service, result.records, counted)
        if last != killed_in:
            # The start took too long for this round to mean anything.
            continue
        both_sides = _answered_after_restart(result.records, last)
        assert both_sides.size, "no id came before the kill and again after it"
        rounds += 1
        if rounds == scale(10):
            break
    assert rounds == scale(10), "the start took too long for this test to mean anything"


@pytest.mark.timeout(60)
def test_windows_that_end_while_all_is_down_are_published(
    serve: Serve, start_load: StartLoad
) -> None:
    service = serve(Server.VERVE, workers=2, window=1)
    load = start_load(service, *LOAD)
    time.sleep(2.5)
    service.kill()
    down = int(time.time())
    time.sleep(2.2)
    service.start()
    _await_requests(service)
    sent = load.stop().records

    counts = settled(service, sent.windows()[-1], repeats=True)
    placed = {start: ids.size for start, ids in sent.placed().items()}
    for start, count in counts.items():
        assert placed.get(start, 0) <= count <= sent.possible(start).size
    assert counts[down + 1] == 0
    assert min(placed) < down < max(placed)
    assert_new_once(sent)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "server",
    [Server.VERVE, Server.GRANIAN, Server.GRANIAN_ASGI, Server.UVICORN, Server.NATIVE],
)
def test_no_worker_goes_on_without_its_parent(
    server: Server, serve: Serve, start_load: StartLoad
) -> None:
    service = serve(server, workers=2, window=2)
    load = start_load(service, *LOAD)
    time.sleep(0.5)
    os.kill(service.pid, signal.SIGKILL)

    service.wait_until(lambda: not service.processes(), 20, "ended with its parent")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", service.port))
    service.kill()
    service.start()
    _await_requests(service)
    sent = load.stop().records

    counts = settled(service, sent.windows()[-1], repeats=True)
    for start, ids in sent.placed().items():
        assert ids.size <= counts[start] <= sent.possible(start).size
    assert_new_once(sent)


@pytest.mark.timeout(60)
def test_a_killed_parent_is_replaced_at_once(serve: Serve) -> None:
    service = serve(Server.VERVE, workers=2, window=3600)
    sleep_clear_of_boundary(service.window, 20)
    assert service.get("/api/verve/accept?id=1").text == "ok"
    slow = service.workers()[0]
    os.kill(slow, signal.SIGSTOP)
    os.kill(service.pid, signal.SIGKILL)
    # On a busy machine it takes a while to die, and keeps its lock so long.
    assert service.process is not None
    service.process.wait(20)
    heir = serve(
        Server.VERVE,
        start=False,
        workers=2,
        window=3600,
        port=service.port,
        segment=service.segment,
        environment={"VERVE_STATE_DIR": str(service.state_directory)},
    )
    heir.start(ready=False)
    # A worker of the killed one still has the port for a while.
    time.sleep(1.5)
    os.kill(slow, signal.SIGCONT)
    heir.wait_ready()
    again = heir.get("/api/verve/accept?id=1&verdict=1")
    assert again.headers["verve-seen"] == "duplicate"


def _await_workers(service: Service, count: int) -> None:
    service.wait_until(lambda: len(service.workers()) >= count, 20, f"{count} workers there")


def _await_requests(service: Service) -> None:
    """Wait until some thousand requests more were answered."""
    wanted = service.metrics()["verve_ids_total"] + 5_000
    service.wait_until(lambda: service.metrics()["verve_ids_total"] > wanted, 10, "serving again")


def _answered_after_restart(sent: records.Records, window: int) -> NDArray[np.int64]:
    """The ids of a window that were answered before the longest silence and again after it."""
    rows = sent.of_kind(records.PLACED)
    rows = rows[rows["window"] == window]
    order = np.argsort(rows["sent_ms"])
    times = rows["sent_ms"][order].astype(np.int64)
    silence = int(np.argmax(np.diff(times)))
    ids = rows["id"][order]
    return np.intersect1d(ids[: silence + 1], ids[silence + 1 :])


def _assert_kept(
    service: Service, sent: records.Records, counted: Mapping[int, NDArray[np.int64]]
) -> None:
    """Acknowledged ids are counted, counted ids were sent, and what was counted was published."""
    elsewhere = (sent.rows["kind"] == records.PLACED) & ~np.isin(sent.rows["window"], list(counted))
    seen = records.Records(sent.rows[~elsewhere], sent.window_seconds)
    assert records.differences(seen, counted) == []
    assert_new_once(sent)
    counts = settled(service, sent.windows()[-1], repeats=True)
    for start, ids in counted.items():
        assert counts.get(start, ids.size) == ids.size
    for start, ids in sent.placed().items():
        assert ids.size <= counts[start] <= sent.possible(start).size
