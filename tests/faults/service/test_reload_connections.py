"""New connections and half-sent bodies across reloads and a stop of the native listener."""

from __future__ import annotations

import itertools
import signal
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

from tests.support.http import raw
from tests.support.service import ACCEPT, Server

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from tests.conftest import Serve, StartLoad
    from tests.support.service import Service

OVERLAP = ("--respawn-interval", "1")
"""Seconds that the old worker and the new one both serve."""
CALLERS = 4
UPLOADS = 8
PER_UPLOAD = 1_000
_FIRST = 10**15
"""The ids of the uploads begin where the load generator's do not."""


def test_reloads_reset_no_new_connection(serve: Serve, scale: Callable[[int], int]) -> None:
    service = serve(Server.NATIVE, workers=1, window=3_600, arguments=OVERLAP)
    over = threading.Event()
    ids = itertools.count()
    answered: list[int] = []
    faults: list[str] = []

    def call() -> None:
        while not over.is_set():
            id = next(ids)
            try:
                answer = raw.ask(service, "GET", f"{ACCEPT}?id={id}")
            except (OSError, AssertionError) as error:
                faults.append(f"{id}: {error!r}")
                continue
            answered.append(id)
            if (answer.status, answer.body) != (200, b"ok"):
                faults.append(f"{id}: {answer}")

    callers = [threading.Thread(target=call) for _ in range(CALLERS)]
    for caller in callers:
        caller.start()
    try:
        for number in range(scale(50)):
            _reload(service, number)
    finally:
        over.set()
        for caller in callers:
            caller.join()
    assert faults == []
    assert service.metrics()["verve_new_ids_total"] == len(answered) > 0


def test_half_sent_bodies_across_a_reload_and_a_stop(serve: Serve, start_load: StartLoad) -> None:
    service = serve(Server.NATIVE, workers=1, window=3_600, arguments=OVERLAP)
    load = start_load(service, "--connections", "16", "--rate", "500")
    with ExitStack() as stack:
        uploads = _Uploads(service, stack, _FIRST)
        service.signal(signal.SIGHUP)
        service.wait_until(
            lambda: "Stopping old worker-1" in service.output(), 30, "an old worker that stops"
        )
        uploads.finish()
        service.wait_until(lambda: "Stopped old worker-1" in service.output(), 30, "reloaded")

        uploads = _Uploads(service, stack, 2 * _FIRST)
        service.signal(signal.SIGTERM)
        # The kernel refuses connections once the parent and the workers have closed their sockets.
        service.wait_until(lambda: not _listens(service), 10, "stopping")
        uploads.finish()
    assert service.wait_end() == 0
    service.kill()  # what is left of it, before it starts again
    result = load.stop()
    # A connection that was idle may be closed as its next request comes: nothing was answered.
    assert set(result.faults) <= {"closed", "reset", "connect"}
    acknowledged = sum(ids.size for ids in result.records.placed().values())
    assert acknowledged > 0
    service.start()
    uploaded = 2 * UPLOADS * PER_UPLOAD
    counted = service.metrics()["verve_new_ids_total"]
    assert acknowledged + uploaded <= counted <= result.report["requests"] + uploaded


class _Uploads:
    """Batches of which the service has the head and half of the body."""

    def __init__(self, service: Service, stack: ExitStack, first: int) -> None:
        self._rest: list[tuple[socket.socket, bytes]] = []
        for number in range(UPLOADS):
            begin = first + number * PER_UPLOAD
            body = "\n".join(map(str, range(begin, begin + PER_UPLOAD))).encode()
            whole = raw.request("POST", ACCEPT, [("content-type", "text/plain")], body)
            half = len(whole) - len(body) // 2
            connection = stack.enter_context(raw.connect(service))
            connection.sendall(whole[:half])
            self._rest.append((connection, whole[half:]))

    def finish(self) -> None:
        """Send the rest of each; each is answered."""
        for connection, rest in self._rest:
            connection.sendall(rest)
        for connection, _ in self._rest:
            received = b""
            while part := connection.recv(65_536):
                received += part
            answer = raw.parse(received)
            assert answer.status == 200, (answer.error, answer)
            assert b'"accepted":%d' % PER_UPLOAD in answer.body.replace(b" ", b"")


def _reload(service: Service, number: int) -> None:
    service.signal(signal.SIGHUP)

    def reloaded() -> bool:
        return service.output().count("Stopped old worker-1") > number

    service.wait_until(reloaded, 30, "reloaded")


def _listens(service: Service) -> bool:
    try:
        raw.connect(service, 1).close()
    except ConnectionRefusedError:
        return False
    except OSError:
        return True
    return True
