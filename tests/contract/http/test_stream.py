"""The event stream, under every server."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.contract.conftest import KINDS
from tests.support.http.events import PATH, Events
from tests.support.http.raw import ask
from tests.support.network.ports import free_port
from tests.support.proxies.haproxy import HAProxy
from tests.support.proxies.nginx import Nginx
from tests.support.service import ACCEPT, Server, Service
from verve.fields import FIELDS, GROUPS, misfits

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Serve

EVERY_KIND = pytest.mark.parametrize("kind", KINDS)
TOKEN = {"authorization": "Bearer s3cret"}


@pytest.fixture
def serve_kind(serve: Serve) -> Callable[..., Service]:
    """Start a service of a kind, with one worker unless the test wants more."""

    def start(kind: str, **more: Any) -> Service:  # noqa: ANN401 - options of `Service`
        server, options = KINDS[kind]
        return serve(server, **{"workers": 1, **options, **more})

    return start


def test_the_headers(service: Service) -> None:
    with Events(service.url(PATH)) as stream:
        headers = stream.answer.headers
        assert stream.answer.status_code == 200
    assert headers["content-type"] == "text/event-stream"
    assert headers["cache-control"] == "no-store, no-transform"
    assert headers["x-accel-buffering"] == "no"
    assert headers["x-content-type-options"] == "nosniff"
    assert "content-encoding" not in headers
    head = ask(service, "HEAD", PATH)
    assert head.status == 200
    assert head.headers["content-type"] == "text/event-stream"
    assert not head.body
    assert ask(service, "POST", PATH).status == 405


def test_the_figures(service: Service) -> None:
    service.get(f"{ACCEPT}?id=7")
    service.get(f"{ACCEPT}?id=x")
    now = service.get("/api/verve/current").json()
    with Events(service.url(PATH)) as stream:
        # The first may have been made for another reader, up to a second ago.
        first = stream.wait("figures", lambda event: event.data["window"] == now).data
        assert first["rejected"]["id invalid"] >= 1
        assert first["ready"] is True
        assert [worker["pid"] for worker in first["workers"]] == service.workers()
        assert first["leader"]["pid"] in service.workers()
        assert [sink["sink"] for sink in first["sinks"]] == ["log"]
        assert first["callbacks"]["enabled"] is False
        assert first["cluster"] is None
        assert first["parts"]["segment"]["state"] == "ok"
        # Each second anew.
        service.get(f"{ACCEPT}?id=7")
        wanted = now["requests"] + 1
        later = stream.wait("figures", lambda event: event.data["window"]["requests"] == wanted)
        assert later.data["now"] > first["now"]
        assert not later.id
    inner = {name: value for name, value in first.items() if name not in GROUPS}
    assert misfits(inner) == []
    assert all(group.fits(first[name]) for name, group in GROUPS.items())
    objects = [first["window"], first["leader"], first["callbacks"], *first["workers"]]
    objects += [*first["sinks"], *first["parts"].values()]
    assert [wrong for one in objects for wrong in misfits(one)] == []
    assert not FIELDS.keys() & first["rejected"].keys()


@EVERY_KIND
def test_windows_come_as_they_end_and_are_replayed(
    serve_kind: Callable[..., Service], kind: str
) -> None:
    """By any worker of the host: all of them give a change the same id."""
    service = serve_kind(kind, workers=2, window=1)
    service.wait_until(service.windows, 10, "keeping a ledger")
    with Events(service.url(PATH)) as stream:
        reset = stream.wait("reset")
        assert reset.data["windows"]
        assert reset.data["windows"][0].keys() == service.windows(1)[0].keys()
        start = service.get(f"{ACCEPT}?id=7&verdict=1").headers["verve-window"]
        events = stream.upto(reset.number + 4)
    assert {event.name for event in events} == {"window"}
    assert [event.number for event in events] == [reset.number + n for n in range(1, 5)]
    listed = {window["window_start"]: window for window in service.windows()}
    assert [event.data for event in events] == [
        listed[event.data["window_start"]] for event in events
    ]
    service.wait_minute(int(start))
    assert sum(event.data["unique"] for event in events) == 1
    # Connections reach either worker.
    for _ in range(6):
        with Events(service.url(PATH), last=reset.id) as stream:
            assert stream.upto(events[-1].number) == events
        with Events(service.url(PATH), last=events[1].id) as stream:
            assert stream.upto(events[-1].number) == events[2:]


@pytest.mark.parametrize("last", [None, "0123456789abcdef:1", "x", "none:0", "{ledger}:{later}"])
def test_an_id_that_cannot_be_continued_gets_a_reset(service: Service, last: str | None) -> None:
    with Events(service.url(PATH)) as stream:
        ledger, _, number = stream.wait("reset").id.partition(":")
    if last is not None:
        last = last.format(ledger=ledger, later=int(number) + 1_000)
    with Events(service.url(PATH), last=last) as stream:
        event = stream.wait("reset")
        assert event.data == service.get("/api/verve/windows").json()
        assert event.id.startswith(f"{ledger}:")


def test_who_may_read_it(serve: Serve, service: Service) -> None:
    assert ask(service, "GET", PATH, host="rebound.example").status == 401
    assert ask(service, "GET", PATH, [("x-forwarded-for", "127.0.0.1")]).status == 401
    admin = f"127.0.0.1:{free_port()}"
    environment = {"VERVE_ADMIN_LISTEN": admin, "VERVE_ADMIN_TOKEN": "s3cret"}
    other = serve(service.server, environment=environment)
    assert ask(other, "GET", PATH, TOKEN.items()).status == 404
    assert httpx.get(f"http://{admin}{PATH}", trust_env=False).status_code == 401
    with Events(f"http://{admin}{PATH}", headers=TOKEN) as stream:
        assert stream.wait("figures").data["ready"]
    # An admin address is served by a listener of its own, which must end in order too.
    with Events(f"http://{admin}{PATH}", headers=TOKEN) as stream:
        stream.wait("figures")
        assert other.stop() in {0, -signal.SIGTERM}
        list(stream)


@pytest.mark.parametrize(
    "kind", ["fast path", "plain RSGI", "ASGI, Granian", "ASGI, uvicorn", "native"]
)
def test_a_quarter_of_the_connections_may_be_streams(
    serve_kind: Callable[..., Service], kind: str
) -> None:
    service = serve_kind(kind, environment={"VERVE_MAX_CONNECTIONS": "8"})
    with ExitStack() as streams:
        first, _ = (streams.enter_context(Events(service.url(PATH))) for _ in range(2))
        first.wait("figures")
        refused = service.get(PATH)
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json().keys() == {"error", "hint"}
        assert service.get(f"{ACCEPT}?id=7").text == "ok"
        first.close()

        def has_place() -> bool:
            with Events(service.url(PATH)) as stream:
                return stream.answer.status_code == 200

        service.wait_until(has_place, 10, "aware that a reader has gone")


@EVERY_KIND
def test_a_stream_ends_by_itself_and_at_a_stop(
    serve_kind: Callable[..., Service], kind: str
) -> None:
    service = serve_kind(kind, environment={"VERVE_STREAM_SECONDS": "1"})
    with Events(service.url(PATH)) as stream:
        # In order: an end in the middle of a chunk raises. A minute may end meanwhile.
        assert {event.name for event in stream} - {"window"} == {"reset", "figures"}
    assert service.get("/readyz").text == "ready"
    service.stop()
    lasting = serve_kind(kind)
    with Events(lasting.url(PATH)) as stream:
        stream.wait("figures")
        # uvicorn ends by the signal, in the end.
        assert lasting.stop() in {0, -signal.SIGTERM}
        assert {event.name for event in stream} <= {"figures", "reset", "window"}


@pytest.mark.parametrize("server", [Server.VERVE, Server.NATIVE, Server.UVICORN])
@pytest.mark.parametrize("proxy", ["nginx", "haproxy"])
def test_through_a_proxy(serve: Serve, tmp_path: Path, server: Server, proxy: str) -> None:
    """It keeps nothing back, in its default configuration."""
    service = serve(server, window=1, environment={"VERVE_ADMIN_TOKEN": "s3cret"})
    directory = tmp_path / proxy
    between = (
        Nginx(directory, service.url()) if proxy == "nginx" else HAProxy(directory, service.port)
    )
    with between:
        url = f"http://127.0.0.1:{between.port}{PATH}"
        with Events(url, headers=TOKEN) as stream:
            reset = stream.wait("reset")
            events = stream.upto(reset.number + 2)
        with Events(url, headers=TOKEN, last=events[0].id) as stream:
            assert stream.upto(events[-1].number) == events[1:]


def test_a_ledger_that_is_replaced(serve: Serve) -> None:
    service = serve(window=1)
    with Events(service.url(PATH)) as stream:
        before = stream.wait("window")
        for path in service.state_directory.glob("ledger.sqlite3*"):
            path.unlink()
        after = stream.wait("reset", lambda event: not event.id.startswith("none:"))
        assert after.id.partition(":")[0] != before.id.partition(":")[0]
        assert stream.wait("window").id.partition(":")[0] == after.id.partition(":")[0]
