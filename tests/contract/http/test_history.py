"""The log line, `/api/verve/current` and `/api/verve/windows`, under every server."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from tests.contract.conftest import KINDS
from tests.support.service import ACCEPT, Server, Service

if TYPE_CHECKING:
    from tests.conftest import Serve

FIELDS = {
    "window_start",
    "window_seconds",
    "unique",
    "requests",
    "duplicates",
    "late",
    "rejected",
    "gap",
    "degraded",
    "revision",
}


def _text(start: int) -> str:
    return datetime.fromtimestamp(start, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _count(service: Service, id: int) -> int:
    return int(service.get(f"{ACCEPT}?id={id}&verdict=1").headers["verve-window"])


@pytest.mark.parametrize("kind", ["fast path", "plain RSGI", "ASGI, Granian", "ASGI, uvicorn"])
def test_a_window_is_logged_and_listed(serve: Serve, kind: str) -> None:
    server, options = KINDS[kind]
    service = serve(server, workers=2, window=1, **options)
    counted: dict[int, set[int]] = {}
    requests: dict[int, int] = {}
    for id in [*range(10), *range(10)]:
        start = _count(service, id)
        counted.setdefault(start, set()).add(id)
        requests[start] = requests.get(start, 0) + 1
        time.sleep(0.05)
    last = max(counted)
    service.wait_minute(last)
    logged = {minute.window_start: minute for minute in service.minutes()}
    listed = {window["window_start"]: window for window in service.windows()}
    for start, ids in counted.items():
        assert logged[start].unique == len(ids)
        assert logged[start].window_seconds == 1
        window = listed[_text(start)]
        assert window["unique"] == len(ids)
        assert window["requests"] == requests[start]
        assert window["duplicates"] == requests[start] - len(ids)
    # Every second between has its line, once.
    starts = [minute.window_start for minute in service.minutes()]
    assert starts == list(range(starts[0], starts[-1] + 1))


def test_the_current_window(service: Service) -> None:
    before = service.get("/api/verve/current").json()
    window = _count(service, 1)
    assert _count(service, 1) >= window
    service.get(f"{ACCEPT}?id=x")
    now = service.get("/api/verve/current").json()
    assert now.keys() == FIELDS - {"gap", "degraded", "revision"}
    assert now["window_seconds"] == 3600
    assert now["unique"] + now["duplicates"] == now["requests"]
    if now["window_start"] == before["window_start"] == _text(window):
        assert now["requests"] == before["requests"] + 2
        assert now["duplicates"] >= before["duplicates"] + 1
        assert now["rejected"] == before["rejected"] + 1


@pytest.mark.parametrize("server", [Server.GRANIAN, Server.GRANIAN_ASGI, Server.UVICORN])
def test_which_windows_are_listed(serve: Serve, server: Server) -> None:
    service = serve(server, window=1)
    service.wait_until(lambda: len(service.windows()) >= 5, 15, "five windows")
    windows = service.windows()
    assert all(window.keys() == FIELDS for window in windows)
    starts = [window["window_start"] for window in windows]
    assert starts == sorted(starts, reverse=True)
    assert len(set(starts)) == len(starts)

    def ask(query: str) -> list[str]:
        listed = service.get(f"/api/verve/windows?{query}").json()["windows"]
        return [window["window_start"] for window in listed]

    newest, _, third, _, fifth = starts[:5]
    epoch = int(datetime.fromisoformat(third).timestamp())
    assert ask("limit=1")[0] >= newest
    assert len(ask("limit=3")) == 3
    assert ask(f"since={fifth}&until={third}") == starts[3:5]
    assert ask(f"since={fifth}&until={third}&limit=1") == starts[3:4]
    local = datetime.fromtimestamp(epoch).astimezone().isoformat()
    for since in (third, third.lower(), third.replace("T", "%20"), epoch, quote(local), local):
        assert ask(f"since={since}")[-1] == third
    half = third.replace("Z", ".5Z")
    assert ask(f"since={half}")[-1] == starts[1]
    assert ask(f"until={half}")[0] == third
    assert ask(f"until={epoch}")[0] == starts[3]
    assert ask("since=99999999999") == []
    assert ask("until=-1") == []
    assert ask(f"other=1&limit=2&until={newest}&") == ask(f"limit=2&until={newest}")


@pytest.mark.parametrize("query", ["limit=0", "limit=1&limit=1", "since=yesterday", "until="])
def test_parameters_that_make_no_sense(service: Service, query: str) -> None:
    answer = service.get(f"/api/verve/windows?{query}")
    assert answer.status_code == 400
    assert set(answer.json()) == {"error", "hint"}


def test_the_ring_answers_while_the_ledger_cannot(serve: Serve) -> None:
    service = serve(window=1)
    service.wait_until(lambda: len(service.windows()) >= 2, 10, "two windows")
    before = {window["window_start"] for window in service.windows()}
    ledger = next(service.state_directory.glob("ledger.sqlite3"))
    ledger.write_bytes(b"no ledger" * 1000)
    answer = service.get("/api/verve/windows?limit=1440")
    assert answer.status_code == 200
    assert before <= {window["window_start"] for window in answer.json()["windows"]}
