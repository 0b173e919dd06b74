"""A service that finds a segment unlike its own, and one that is stopped with care."""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.support.records import differences
from tests.support.service import ACCEPT, Server
from tests.support.timing import sleep_clear_of_boundary, sleep_into_window
from tests.support.witnesses import Row, assert_new_once, ledger, ledger_path, moment
from verve import Counter

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Serve, StartLoad
    from tests.support.service import Service

STOP_SECONDS = 9.0
"""What a stop may take with clients that will not leave."""
HOUR = 3600
FORMAT_AT = 8
"""Offset of the format's number in the header of every segment."""


@pytest.mark.parametrize(("before", "after"), [(4, 2), (2, 4)])
def test_another_window_length(before: int, after: int, serve: Serve) -> None:
    old = serve(Server.VERVE, workers=2, window=before)
    # Then the start of a window of the one length is inside one of the other.
    sleep_into_window(4, 0.1 if before == 4 else 2.1)
    placed = [_accept(old, number) for number in (1, 2, 2, 3)]
    assert len(set(placed)) == 1
    old.stop()
    new = _successor(serve, old, window=after)
    later = _accept(new, 1)
    # As long as it was when it was opened, however early it was closed.
    windows = {(placed[0], before): 3, (later, after): 1}
    new.wait_until(lambda: windows.keys() <= _stored(old).keys(), 10, "in the ledger")

    new.wait_until(lambda: windows.keys() <= set(_logged(old, new)), 5, "in the log")
    logged = _logged(old, new)
    assert len(set(logged)) == len(logged)
    assert {key: row.unique for key, row in _stored(old).items() if key in windows} == windows
    new.wait_until(lambda: all(row.logged_at for row in _stored(old).values()), 5, "all logged")
    shown = {(moment(w["window_start"]), w["window_seconds"]): w["unique"] for w in new.windows()}
    assert windows.items() <= shown.items()
    assert [event["window_seconds"] for event in new.events("segment.retired")] == [before]


def test_another_window_length_is_refused_while_the_segment_is_in_use(serve: Serve) -> None:
    old = serve(Server.VERVE, workers=1, window=HOUR)
    beside = _successor(serve, old, Server.GRANIAN, window=2, beside=True)
    _assert_refused(beside, "the segment was made for the window `3600`, not `2`")
    second = _successor(serve, old, window=2, beside=True)
    _assert_refused(second, f"another `verve serve` (process {old.pid}) has the state directory")
    assert _accept(old, 1)


@pytest.mark.parametrize("server", [Server.VERVE, Server.GRANIAN])
def test_another_format(server: Server, serve: Serve) -> None:
    service = serve(server, workers=2, window=HOUR)
    sleep_clear_of_boundary(HOUR, 30)
    _accept(service, 1)
    service.stop()
    with closing(
        Counter(service.segment, window=HOUR, state_directory=str(service.state_directory))
    ):
        with service.segment.open("r+b") as file:
            file.seek(FORMAT_AT)
            file.write((99).to_bytes(4, "little"))
        before = _file(service.segment)
        _assert_refused(service, "the segment has format 99", "restart, do not reload")
        assert _file(service.segment) == before

    service.start()
    [event] = service.events("segment.set_aside")
    [kept] = service.segment.parent.glob(f"{service.segment.name}.format-*")
    assert (event["level"], event["kept"]) == ("warning", str(kept))
    assert _file(kept) == before
    assert service.get(f"{ACCEPT}?id=1&verdict=1").headers["verve-seen"] == "new"


@pytest.mark.parametrize("server", [Server.VERVE, Server.GRANIAN])
def test_a_segment_of_somebody_else(server: Server, serve: Serve) -> None:
    service = serve(server, workers=2, window=HOUR)
    service.stop()
    before = _file(service.segment)
    service.segment.chmod(0o644)
    _assert_refused(service, "others may read or write the file", "`chmod 600` it")
    service.segment.chmod(0o600)
    if os.geteuid() != 0:
        pytest.skip("only root can give a file to somebody else")
    nobody = 65_534
    os.chown(service.segment, nobody, nobody)
    _assert_refused(service, f"belongs to user {nobody}", "run as its owner")
    assert service.segment.stat().st_uid == nobody
    assert _file(service.segment) == before
    os.chown(service.segment, 0, 0)
    service.start()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_with_clients_and_a_start_in_the_same_window(
    number: signal.Signals, serve: Serve, start_load: StartLoad
) -> None:
    sleep_clear_of_boundary(HOUR, 60)
    service = serve(Server.VERVE, workers=4, window=HOUR)
    load = start_load(service, "--connections", "64", "--ids", "uniform:100000")
    with ExitStack() as clients:
        for client in range(16):
            clients.enter_context(_idle_client(service, client))
        time.sleep(1)
        service.signal(number)
        assert service.wait_end(STOP_SECONDS) == 0
    assert not service.processes()
    assert service.events("service.stopped")
    service.kill()
    service.start()
    time.sleep(1)
    sent = load.stop().records

    [window] = sent.windows()
    with Counter(
        service.segment, window=HOUR, state_directory=str(service.state_directory)
    ) as observer:
        ids = np.array(observer.ids(window))
    ours = np.arange(-16, 0)
    assert np.isin(ours, ids).all()
    assert differences(sent, {window: np.setdiff1d(ids, ours)}) == []
    assert_new_once(sent)
    assert np.unique(sent.rows["connection"][sent.rows["seen"] == 1]).size == 64


def test_a_stop_while_the_workers_start(serve: Serve) -> None:
    for _ in range(3):
        service = serve(Server.GRANIAN, workers=4, start=False)
        service.start(ready=False)
        # From here on the stop is theirs to hear of, whether their event loop runs yet or not.
        _await_workers(service)
        service.signal(signal.SIGTERM)
        assert service.wait_end(20) == 0


def _await_workers(service: Service) -> None:
    service.wait_until(lambda: len(service.workers()) == service.worker_count, 20, "attached")


def _accept(service: Service, number: int) -> int:
    """Have an id counted, and tell the window that it is in."""
    answer = service.get(f"{ACCEPT}?id={number}&verdict=1")
    assert answer.text == "ok"
    return int(answer.headers["verve-window"])


def _successor(
    serve: Serve,
    old: Service,
    server: Server = Server.VERVE,
    *,
    window: int,
    beside: bool = False,
) -> Service:
    """A service with the segment and the state directory of `old`.

    It has started and has the port of `old`, too, unless it shall be `beside` it.
    """
    return serve(
        server,
        start=not beside,
        window=window,
        port=None if beside else old.port,
        segment=old.segment,
        environment={"VERVE_STATE_DIR": str(old.state_directory)},
    )


def _logged(*services: Service) -> list[tuple[int, int]]:
    """Starts and lengths of the windows in the logs."""
    minutes = [minute for service in services for minute in service.minutes()]
    return [(minute.window_start, minute.window_seconds) for minute in minutes]


def _stored(service: Service) -> dict[tuple[int, int], Row]:
    """The rows of the ledger by start and length."""
    rows = ledger(ledger_path(service))
    return {(row.window_start, row.window_seconds): row for row in rows}


def _file(path: Path) -> tuple[int, bytes]:
    """Which file it is, and the part of the header that never changes."""
    with path.open("rb") as file:
        return os.fstat(file.fileno()).st_ino, file.read(64)


def _assert_refused(service: Service, *said: str) -> None:
    """It does not start, says why, and ends with an exit code that tells."""
    already = len(service.output())
    service.start(ready=False)
    code = service.wait_end()
    service.kill()
    output = service.output()[already:]
    assert code not in {0, None}, output
    for words in said:
        assert words in output, output
    assert "Traceback" not in output


def _idle_client(service: Service, number: int) -> socket.socket:
    """A connection with one answered request, kept alive."""
    client = socket.create_connection(("127.0.0.1", service.port), 10)
    client.sendall(f"GET {ACCEPT}?id={number - 16} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
    answer = b""
    while not answer.endswith(b"ok"):
        received = client.recv(4096)
        assert received, answer
        answer += received
    return client
