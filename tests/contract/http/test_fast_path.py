"""Where the fast path answers, and where it steps aside."""

from __future__ import annotations

import inspect
import socket
import struct
import sys
import types
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import granian
import pytest
from granian import _futures

from tests.support.http.raw import Answer, ask, request
from tests.support.paths import ROOT
from tests.support.service import ACCEPT, Server, Service
from verve.service import fast_path

if TYPE_CHECKING:
    from tests.conftest import Serve


def _serve(serve: Serve, *arguments: str, marked: str = "", **options: Any) -> Service:  # noqa: ANN401
    environment = {"PYTHONPATH": str(ROOT), "MARKED": marked}
    target = "tests.support.http.marked:target"
    return serve(target=target, arguments=arguments, environment=environment, **options)


def _looped(answer: Answer) -> bool:
    return answer.headers.get("x-through") == "event loop"


def _check_everything_goes_through_the_loop(service: Service) -> None:
    answer = ask(service, "GET", f"{ACCEPT}?id=7&verdict=1")
    assert (answer.status, answer.headers["verve-seen"]) == (200, "new")
    assert _looped(answer)
    assert service.metrics()["verve_fast_path"] == 0
    assert not service.events("fast_path.on")


def test_the_installed_granian_is_one_that_the_fast_path_was_tested_with() -> None:
    """A newer Granian fails here: run these tests with it, then add it to `TESTED_GRANIAN`."""
    assert version("granian") == granian.__version__
    assert granian.__version__ in fast_path.TESTED_GRANIAN
    assert fast_path.unusable_because(_futures, granian.__version__) is None


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--task-impl", "rust"),
        ("--loop", "asyncio"),
        ("--http", "1", "--no-ws"),
        ("--runtime-mode", "mt"),
    ],
    ids=" ".join,
)
def test_accepts_do_not_touch_the_event_loop(serve: Serve, arguments: tuple[str, ...]) -> None:
    service = _serve(serve, *arguments)
    for query, status in (("id=7", 200), ("id=7&verdict=1", 200), ("id=x", 400), ("", 400)):
        answer = ask(service, "GET", f"{ACCEPT}?{query}")
        assert answer.status == status
        assert not _looped(answer)
    text = [("content-type", "text/plain")]
    for method, path in (
        ("HEAD", ACCEPT),
        ("PUT", ACCEPT),
        ("POST", ACCEPT),
        ("GET", f"{ACCEPT}/"),
        ("GET", "/livez"),
        ("GET", "/readyz"),
    ):
        assert _looped(ask(service, method, path, text, b"7"))
    assert len(service.events("fast_path.on")) == 1
    assert service.metrics()["verve_fast_path"] == 1


def test_it_works_where_granian_is_embedded(serve: Serve) -> None:
    environment = {"PYTHONPATH": str(ROOT)}
    service = serve(Server.PROGRAM, target="tests.support.http.embedded", environment=environment)
    assert not _looped(ask(service, "GET", f"{ACCEPT}?id=7"))
    assert _looped(ask(service, "GET", "/livez"))
    assert len(service.events("fast_path.on")) == 1
    assert service.stop() == 0


def test_it_can_be_turned_off(serve: Serve) -> None:
    service = _serve(serve, fast_path=False)
    _check_everything_goes_through_the_loop(service)
    (line,) = service.events("fast_path.off")
    assert "VERVE_FAST_PATH" in line["message"]


@pytest.mark.parametrize(
    ("marked", "said"), [("untested", granian.__version__), ("changed", "_cbsched_aioschedule")]
)
def test_it_steps_aside_for_another_granian(serve: Serve, marked: str, said: str) -> None:
    # The class that Granian then uses does not need what is missing in the changed one.
    arguments = ["--task-impl", "rust"] if marked == "changed" else []
    if marked == "changed" and sys.version_info >= (3, 12):
        pytest.skip("this Python has no second task implementation to fall back to")
    service = _serve(serve, *arguments, marked=marked)
    _check_everything_goes_through_the_loop(service)
    (line,) = service.events("fast_path.unavailable")
    assert said in line["message"]
    assert line["level"] == "warning"


def test_it_steps_aside_for_the_access_log(serve: Serve) -> None:
    service = _serve(serve, "--access-log")
    _check_everything_goes_through_the_loop(service)
    (line,) = service.events("fast_path.unavailable")
    assert "access log" in line["message"]
    assert f'"GET {ACCEPT} HTTP/1.1" 200' in service.output()


def test_it_steps_aside_inside_another_application(serve: Serve) -> None:
    service = _serve(serve, marked="inside")
    _check_everything_goes_through_the_loop(service)
    (line,) = service.events("fast_path.unavailable")
    assert "another application" in line["message"]


@pytest.mark.parametrize("server", [Server.GRANIAN_ASGI, Server.UVICORN])
def test_it_is_not_spoken_of_elsewhere(serve: Serve, server: Server) -> None:
    service = serve(server)
    assert service.metrics()["verve_fast_path"] == 0
    assert not [line for line in service.lines() if line["event"].startswith("fast_path")]


def _with_other_parameters(loop: object, cb: object) -> None:
    raise NotImplementedError((loop, cb))


def test_a_granian_with_other_functions_is_unfit() -> None:
    known = {name: getattr(_futures, name) for name in fast_path._BUILDERS}
    (tested, *_) = fast_path.TESTED_GRANIAN
    for name, function in known.items():
        assert inspect.isfunction(function)
        for other in (None, _with_other_parameters):
            changed: Any = types.SimpleNamespace(**{**known, name: other})
            if other is None:
                delattr(changed, name)
            assert name in (fast_path.unusable_because(changed, tested) or "")


def test_a_client_that_goes_away_is_counted_once(serve: Serve) -> None:
    service = _serve(serve, workers=1)
    clients = 200
    for id in range(clients):
        with socket.create_connection(("127.0.0.1", service.port)) as client:
            # A close then resets the connection, whatever it is doing.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sendall(request("GET", f"{ACCEPT}?id={id}"))
    assert ask(service, "GET", f"{ACCEPT}?id={clients}").status == 200

    def each_once() -> bool:
        metrics = service.metrics()
        return metrics["verve_ids_total"] == metrics["verve_new_ids_total"] > 1

    service.wait_until(each_once, 5, "as many requests as ids")
    assert not service.events("fast_path.failed")
