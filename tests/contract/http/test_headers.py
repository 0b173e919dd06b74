"""What every answer of every route carries, under every server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contract.conftest import MAX_BODY
from tests.support.http.events import PATH
from tests.support.http.raw import ask
from tests.support.service import ACCEPT
from verve.http.routes import ROUTES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.service import Service

TEXT, JSON = "text/plain", "application/json"
METRICS = "text/plain; version=0.0.4; charset=utf-8"
_IDS = [("content-type", "text/plain")]
_TYPES = {"/livez": TEXT, "/readyz": TEXT, "/metrics": METRICS}
_REPEATED = ("content-type", "cache-control", "x-content-type-options")


def _carries(headers: Mapping[str, str], kind: str) -> None:
    assert headers["content-type"] == kind
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", f"{ACCEPT}?id=7", 200),
        ("GET", f"{ACCEPT}?id=7&verdict=1", 200),
        ("GET", f"{ACCEPT}?id=x", 400),
        ("GET", f"{ACCEPT}?id=7&endpoint=https://x.example/", 503),
        ("GET", f"{ACCEPT}?id=7&endpoint=http://127.0.0.1/", 400),
        ("HEAD", f"{ACCEPT}?id=7", 405),
        ("OPTIONS", ACCEPT, 405),
        ("POST", f"{ACCEPT}?id=7", 400),
    ],
)
def test_accepts(service: Service, method: str, target: str, status: int) -> None:
    answer = ask(service, method, target, _IDS, b"" if method == "POST" else None)
    assert answer.status == status
    _carries(answer.headers, TEXT)


def test_batches(service: Service) -> None:
    answer = ask(service, "POST", ACCEPT, _IDS, b"1\n2\n")
    assert answer.status == 200
    _carries(answer.headers, JSON)
    for headers, body, status in (
        (_IDS, b"1\nx\n", 400),
        ([], b"1", 415),
        (_IDS, b"1" * (MAX_BODY + 1), 413),
    ):
        answer = ask(service, "POST", ACCEPT, headers, body)
        assert answer.status == status
        _carries(answer.headers, TEXT)


# Without an archive there are no counts of spans: `test_distinct.py` has one.
_ELSEWHERE = {"/", ACCEPT, PATH, "/api/verve/distinct"}


@pytest.mark.parametrize("path", [path for path in ROUTES if path not in _ELSEWHERE])
def test_other_routes(service: Service, path: str) -> None:
    kind = _TYPES.get(path, JSON)
    for method in ("GET", "HEAD"):
        answer = ask(service, method, path)
        assert answer.status == 200
        _carries(answer.headers, kind)
    _carries(ask(service, "OPTIONS", path).headers, JSON)
    _carries(ask(service, "GET", f"{path}x").headers, JSON)
    if ROUTES[path].guarded:
        refused = ask(service, "GET", path, host="elsewhere.example")
        assert refused.status == 401
        _carries(refused.headers, JSON)


def test_what_is_listed_in_json(service: Service) -> None:
    for target, status in (("/readyz?verbose", 200), ("/api/verve/windows?limit=x", 400)):
        answer = ask(service, "GET", target)
        assert answer.status == status
        _carries(answer.headers, JSON)


def test_no_header_is_there_twice(service: Service) -> None:
    for target in (f"{ACCEPT}?id=7", f"{ACCEPT}?id=x", *(ROUTES.keys() - {PATH})):
        names = [name for name, _ in service.get(target).headers.multi_items()]
        assert [names.count(name) for name in _REPEATED] == [1, 1, 1]
