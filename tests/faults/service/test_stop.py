"""Processes that are stopped over a boundary.

The window is published without them, and what they go on with later is counted where their answers
say.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.support.network import tcp
from tests.support.service import ACCEPT, Server
from tests.support.timing import sleep_into_window, window_at
from tests.support.witnesses import (
    assert_exact,
    assert_new_once,
    delay,
    in_history,
    in_ledger,
    ledger_path,
    moment,
    settled,
)
from verve import Counter

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from tests.conftest import Serve, StartLoad
    from tests.support.service import Service

pytestmark = pytest.mark.alone(reason="judges delays of the log, under load")

WORKERS = 4
# A stopped process keeps its clients waiting, and they wait: nothing is sent in vain.
LOAD = ("--connections", "64", "--ids", "uniform:50000", "--timeout", "30")
PROMPT = 4.0
"""Seconds from the end of a window to its line in the log, whoever but the leader is stopped."""
AFTER_TAKEOVER = 5.0
"""The same when the leader is stopped."""

# Opens the ledger as the service does, and stops between the two ends of a transaction.
_INTRUDER = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
connection.execute("DELETE FROM windows")
os.kill(os.getpid(), signal.SIGSTOP)
connection.execute("ROLLBACK")
"""


def test_a_stopped_worker(serve: Serve, start_load: StartLoad) -> None:
    service = serve(Server.VERVE, workers=WORKERS, window=2)
    load = start_load(service, *LOAD)
    victim = random.choice([pid for pid in service.workers() if pid != service.leader()])
    sleep_into_window(service.window, 1.2)
    with _stopped(victim):
        first = window_at(service.window)
        for start in (first, first + service.window):
            assert delay(service, start) < PROMPT
    result = load.stop()

    assert result.faults == {}
    assert_exact(settled(service, result.records.windows()[-1]), result.records)


@pytest.mark.parametrize("busy", [True, False], ids=["busy", "quiet"])
def test_a_stopped_leader(busy: bool, serve: Serve, start_load: StartLoad) -> None:
    service = serve(Server.VERVE, workers=WORKERS, window=2)
    load = start_load(service, *LOAD, *(() if busy else ("--requests", "1000")))
    victim = service.leader()
    # Away from the boundary: between its line in the log and its row in the ledger a leader has
    # other things to lose, see below.
    sleep_into_window(service.window, 1.2)
    with _stopped(victim):
        first = window_at(service.window)
        assert delay(service, first) < AFTER_TAKEOVER
        assert delay(service, first + service.window) < PROMPT
    result = load.stop()

    assert result.faults == {}
    last = max(result.records.windows()[-1], first + service.window)
    assert_exact(settled(service, last), result.records)
    assert len(service.events("leader.started")) > 1


def test_somebody_else_stopped_inside_the_ledger(serve: Serve, start_load: StartLoad) -> None:
    service = serve(Server.VERVE, workers=2, window=1)
    load = start_load(service, *LOAD)
    service.wait_until(lambda: len(service.minutes()) > 1, 5, "started to log")
    intruder = subprocess.Popen([sys.executable, "-c", _INTRUDER, ledger_path(service)])
    try:
        service.wait_until(lambda: "T" in _states(intruder.pid), 10, "inside the ledger")
        stored = in_ledger(service)
        first = window_at(service.window)
        for start in range(first, first + 4):
            assert delay(service, start) < PROMPT
        assert in_ledger(service) == stored, "the intruder kept nobody out"
        assert max(in_history(service)) >= first + 3
        assert service.metrics()["verve_ledger_lag_seconds"] >= 3
        ready = service.get("/readyz")
        assert (ready.status_code, ready.text) == (200, "ready, degraded: ledger behind")
        assert intruder.poll() is None, "a process that is no worker was killed"
    finally:
        intruder.send_signal(signal.SIGCONT)
        assert intruder.wait(10) == 0
    result = load.stop()

    assert result.faults == {}
    assert_exact(settled(service, result.records.windows()[-1]), result.records)
    service.wait_until(lambda: service.get("/readyz").text == "ready", 5, "ready again")


@pytest.mark.parametrize("server", [Server.VERVE, Server.GRANIAN])
def test_a_leader_stopped_inside_the_ledger(
    server: Server, serve: Serve, start_load: StartLoad
) -> None:
    service = serve(server, workers=WORKERS, window=1)
    load = start_load(service, *LOAD)
    service.wait_until(lambda: in_ledger(service), 5, "writing the ledger")
    with _leader_stopped_in_commit(service) as victim:
        first = window_at(service.window)
        assert delay(service, first) < AFTER_TAKEOVER
        if server is Server.VERVE:
            # It is started again when it is killed, so that the ledger need not wait for it.
            service.wait_until(lambda: first + 2 in in_ledger(service), 10, "in the ledger")
            assert [event["pid"] for event in service.events("ledger.holder_killed")] == [victim]
        else:
            # Its death would end the server: the ledger waits, and the log does not.
            for start in range(first + 2, first + 5):
                assert delay(service, start) < PROMPT
            assert first + 2 not in in_ledger(service), "it was not stopped inside the ledger"
    result = load.stop()
    last = result.records.windows()[-1]

    if server is Server.VERVE:
        counts = settled(service, last, repeats=True)
        for start, ids in result.records.placed().items():
            assert ids.size <= counts[start] <= result.records.possible(start).size
        assert_new_once(result.records)
        assert set(result.faults) <= {"closed", "reset", "connect"}
    else:
        assert result.faults == {}
        assert_exact(settled(service, last, repeats=True), result.records)


def test_a_worker_stopped_inside_a_batch(serve: Serve) -> None:
    ids = np.arange(4_000_000, dtype="<i8")
    service = serve(
        Server.VERVE,
        workers=2,
        window=6,
        max_ids=2 * ids.size,
        environment={"VERVE_MAX_BODY": str(ids.nbytes)},
    )
    with (
        Counter(service.segment, state_directory=str(service.state_directory), window=6) as beside,
        closing(HTTPConnection("127.0.0.1", service.port, 60)) as connection,
        ThreadPoolExecutor(1) as pool,
    ):
        connection.connect()
        victim = _server_of(connection.sock, service)
        sleep_into_window(service.window, 0.1)
        first = window_at(service.window)
        kind = {"content-type": "application/octet-stream"}
        post = pool.submit(connection.request, "POST", ACCEPT, ids.tobytes(), kind)
        service.wait_until(lambda: beside.count() > 0, 10, "at the batch")
        with _stopped(victim):
            counted = beside.count()
            assert counted < ids.size, "the batch was done too soon to be stopped"
            assert window_at(service.window) == first
            assert delay(service, first) < AFTER_TAKEOVER
        post.result()
        answer = json.load(connection.getresponse())

    assert (answer["accepted"], answer["new"]) == (ids.size, ids.size)
    placed = {moment(part["window_start"]): part["new"] for part in answer["windows"]}
    assert counted <= placed[first] < ids.size
    counts = settled(service, max(placed))
    assert counts == {start: placed.get(start, 0) for start in counts}


@contextlib.contextmanager
def _stopped(process: int) -> Iterator[None]:
    """Stop a process, and let it go on at the end if it is still there."""
    os.kill(process, signal.SIGSTOP)
    try:
        while set(_states(process)) != {"T"}:
            time.sleep(0.0001)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGCONT)


@contextlib.contextmanager
def _leader_stopped_in_commit(service: Service) -> Iterator[int]:
    """Stop the leader while it holds the ledger's lock for writing, and tell its process id.

    After a boundary it is let run in slices that are shorter than a transaction.
    """
    inode = ledger_path(service).with_name("ledger.sqlite3-shm").stat().st_ino
    for _ in range(20):
        leader = service.leader()
        sleep_into_window(service.window, 0)
        until = time.monotonic() + 0.4
        while time.monotonic() < until:
            with _stopped(leader):
                if _writes(leader, inode):
                    yield leader
                    return
            time.sleep(0.0001)
    raise service.error("the leader was never met inside a ledger commit")


def _server_of(client: socket.socket, service: Service) -> int:
    """The worker at the other end of a connection."""
    ends = service.port, client.getsockname()[1]

    def inode() -> str | None:
        for local, remote, inode in tcp.connections():
            if (local, remote) == ends and inode != "0":
                return inode
        return None

    link = Path(f"socket:[{service.wait_until(inode, 5, 'connected')}]")
    for worker in service.workers():
        for file in Path(f"/proc/{worker}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                if file.readlink() == link:
                    return worker
    raise service.error("no worker has the connection")


def _writes(process: int, inode: int) -> bool:
    """Whether a process is inside a transaction: SQLite locks byte 120 of its shared memory then.

    The kernel lists locks as `7: POSIX  ADVISORY  WRITE 4711 fe:00:1054 120 120`.
    """
    for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
        match line.split():
            case [_, "POSIX", _, "WRITE", holder, file, "120", "120"]:
                if int(holder) == process and file.endswith(f":{inode}"):
                    return True
    return False


def _states(process: int) -> Iterator[str]:
    """The state of each thread of a process as the kernel names it; `T` is stopped."""
    for thread in Path(f"/proc/{process}/task").iterdir():
        yield (thread / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
