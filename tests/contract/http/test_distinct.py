"""`/api/verve/distinct`, under each server."""

from __future__ import annotations

import fcntl
from typing import TYPE_CHECKING

import pytest

from tests.contract.conftest import KINDS
from tests.support.archive import places as archive
from tests.support.http.raw import ask
from tests.support.service import Server
from verve.archive.store import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Serve
    from tests.support.service import Service

HOUR = 1_764_504_000  # 2025-11-30T12:00:00Z
ROUTE = "/api/verve/distinct"


def _begin(serve: Serve, tmp_path: Path, kind: str = "fast path") -> Service:
    server, options = KINDS[kind]
    place = tmp_path / "ids"
    for number in range(3):
        ids = range(500 * number, 500 * number + 1000)
        archive.put_window(open_store(place), tmp_path, HOUR + 60 * number, ids)
    return serve(server, **{"workers": 1, **options}, environment={"VERVE_ARCHIVE": str(place)})


@pytest.mark.parametrize("kind", KINDS)
def test_a_span_is_counted(serve: Serve, tmp_path: Path, kind: str) -> None:
    service = _begin(serve, tmp_path, kind)
    answer = service.get(f"{ROUTE}?since={HOUR}&until={HOUR + 180}", timeout=60)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["distinct"], found["complete"], found["rows"]) == (2000, True, 3000)
    assert found["archive_hosts"] == ["one"]
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    refused = ask(service, "GET", f"{ROUTE}?since={HOUR}&until={HOUR + 60}", host="rebound.example")
    assert refused.status == 401


def test_parts_errors_and_turns(serve: Serve, tmp_path: Path) -> None:
    service = _begin(serve, tmp_path)
    since, until = "2025-11-30T12:00:00Z", "2025-11-30T12:04:00Z"
    found = service.get(f"{ROUTE}?since={since}&until={until}&by=minute", timeout=60).json()
    assert [one["distinct"] for one in found["buckets"]] == [1000, 1000, 1000, 0]
    assert [one["complete"] for one in found["buckets"]] == [True, True, True, False]
    assert [one["reason"] for one in found["missing"]] == ["unobserved"]
    for query in (
        "",
        f"since={HOUR}",
        f"since={HOUR}&until={HOUR}",
        f"since={HOUR}&until={2**35}",
        f"since={HOUR}&until={HOUR + 60}&by=week",
        f"since=0&until={10_001 * 60}&by=minute",
        f"since={HOUR + 30}&until={HOUR + 60}",
    ):
        answer = service.get(f"{ROUTE}?{query}", timeout=60)
        assert answer.status_code == 400, (query, answer.text)
        assert answer.json()["hint"]
    # Another worker's query holds the turn of this host.
    (lock,) = tmp_path.glob("service-*/**/archive-query.lock")
    with lock.open("rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        answer = service.get(f"{ROUTE}?since={HOUR}&until={HOUR + 60}", timeout=60)
        assert answer.status_code == 503
        assert answer.json()["error"] == "another query runs"
    assert service.get(f"{ROUTE}?since={HOUR}&until={HOUR + 60}", timeout=60).is_success


def test_without_an_archive_there_is_no_route(serve: Serve) -> None:
    service = serve(Server.GRANIAN, workers=1)
    assert service.get(f"{ROUTE}?since=0&until=60").status_code == 404
