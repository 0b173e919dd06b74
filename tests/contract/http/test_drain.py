"""`verve drain` under every server: readiness ends, and accepts go on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.contract.conftest import KINDS
from tests.support.http import raw
from tests.support.http.events import PATH, Events
from tests.support.service import ACCEPT
from verve._verve import segment_identity
from verve.commands import segment_view

if TYPE_CHECKING:
    from tests.conftest import Serve
    from tests.support.service import Service

WORKERS = 2
LOOKS = 16
"""Requests over connections of their own, so that each worker answers some."""
NOT_READY = (503, "not ready: draining, as `verve drain` asked")


@pytest.mark.parametrize("kind", KINDS)
def test_a_drain(kind: str, serve: Serve) -> None:
    server, options = KINDS[kind]
    service = serve(server, workers=WORKERS, window=3600, **options)
    assert _readiness(service) == {(200, "ready")}
    with Events(service.url(PATH)) as stream:
        stream.wait("figures")
        _drain(service, "the service drains: it counts, and is not ready for more requests")
        # The service ends the stream, well before its 5 minutes.
        assert len(list(stream)) < 10
    refused = service.get(PATH)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    assert _readiness(service) == {NOT_READY}
    assert service.get("/livez").status_code == 200
    verbose = service.get("/readyz?verbose").json()
    assert verbose["ready"] is False
    assert verbose["parts"]["process"]["state"] == "failed"
    service.wait_until(lambda: _figures(service)["draining"] == WORKERS, 5, "draining workers")

    # It counts all the while, and is not drained while a batch is half sent.
    assert service.get(f"{ACCEPT}?id=7").text == "ok"
    batch = raw.request("POST", ACCEPT, [("content-type", "text/plain")], b"7\n8\n9")
    with raw.connect(service) as client:
        client.sendall(batch[:-3])
        service.wait_until(lambda: _figures(service)["open_batches"] == 1, 5, "open batch")
        waited = _drain(
            service, "the service drains already", "--wait", "--timeout", "1", fails=True
        )
        assert "the service is not drained after 1 s: 1 batch is open" in waited
        client.sendall(batch[-3:])
        assert b"200 OK" in client.recv(65_536)
    _drain(service, "the service drains already\nthe service is drained", "--wait")
    assert _figures(service)["requests_total"] == 4

    _drain(service, "the service is ready again", "--undo")
    assert _readiness(service) == {(200, "ready")}
    with Events(service.url(PATH)) as stream:
        assert stream.wait("figures").data["ready"] is True
    service.wait_until(lambda: _figures(service)["draining"] == 0, 5, "end of the drain")
    names = ["service.draining", "service.drain_undone"]
    service.wait_until(lambda: service.events(names[1]), 5, "the last log line")
    assert [len(service.events(name)) for name in names] == [1, 1]


def _drain(service: Service, message: str, *arguments: str, fails: bool = False) -> str:
    done = service.command("drain", *arguments)
    assert done.returncode == int(fails), done.stderr
    assert done.stderr.startswith(f"{message}\n")
    return done.stderr


def _readiness(service: Service) -> set[tuple[int, str]]:
    """What workers say within the second that a drain may take."""
    deadline = time.monotonic() + 1
    while True:
        answers = [service.get("/readyz") for _ in range(LOOKS)]
        found = {(answer.status_code, answer.text) for answer in answers}
        if len(found) == 1 or time.monotonic() > deadline:
            return found


def _figures(service: Service) -> dict[str, int]:
    with segment_view.opened(service.segment, segment_identity(service.segment)) as counter:
        stats = counter.stats()
        return {**stats["workers"], "requests_total": stats["requests_total"]}
