"""The fast path answers what it counts, and hands over only what it did not count."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import rig
from verve._verve import Callbacks, FastPath, callback_figures

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from verve import Counter


@dataclass
class Scope:
    """A request as Granian shows it."""

    query_string: Any = "id=7"
    path: Any = "/api/verve/accept"
    method: str = "GET"
    proto: str = "http"


@dataclass
class Protocol:
    """What answers; it raises `error`, if there is one."""

    error: BaseException | None = None
    answers: list[tuple[int, bytes]] = field(default_factory=list)

    def response_bytes(self, status: int, _headers: object, body: bytes) -> None:
        """Answer."""
        if self.error is not None:
            raise self.error
        self.answers.append((status, body))


class Watcher:
    """What Granian hands over."""

    def __init__(self, scope: Scope, protocol: object) -> None:
        self.scope = scope
        self.proto = protocol


class Desk:
    """A fast path, what it handed over and what it told of."""

    def __init__(self, counter: Counter, callbacks: Callbacks | None) -> None:
        self.handed_over: list[object] = []
        self.told: list[BaseException] = []
        self.stock_error: BaseException | None = None
        self.path = FastPath(counter, callbacks, self._stock, self.told.append)

    def _stock(self, watcher: object) -> None:
        self.handed_over.append(watcher)
        if self.stock_error is not None:
            raise self.stock_error


@pytest.fixture
def counter(tmp_path: Path) -> Iterator[Counter]:
    """A counter whose clock stands still."""
    with rig.counter_of(rig.settings(tmp_path), rig.clock_in_minute()) as counter:
        yield counter


@pytest.fixture(params=[False, True], ids=["alone", "with callbacks"])
def callbacks(counter: Counter, request: pytest.FixtureRequest) -> Iterator[Callbacks | None]:
    """What sends callbacks, or nothing."""
    if not request.param:
        yield None
        return
    sender = Callbacks(counter, allow=["127.0.0.1"])
    yield sender
    sender.stop(0)
    sender.close()


ERRORS = [
    ConnectionResetError("the client is gone"),
    TypeError("another answer"),
    KeyboardInterrupt(),
]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_what_was_counted_is_not_handed_over(
    counter: Counter, callbacks: Callbacks | None, error: BaseException
) -> None:
    desk = Desk(counter, callbacks)
    port_of_nobody = "http%3A%2F%2F127.0.0.1%3A40009%2F"
    query = "id=7" if callbacks is None else f"id=7&endpoint={port_of_nobody}"
    assert desk.path.schedule(Watcher(Scope(query), Protocol(error))) is None  # type: ignore[func-returns-value]
    assert (desk.handed_over, desk.told) == ([], [error])
    current = counter.current()
    assert (current.unique, current.requests) == (1, 1)
    if callbacks is not None:
        figures = callback_figures(counter)
        assert figures["pending"] + sum(figures["ended"].values()) == 1


def test_a_refusal_that_cannot_be_answered_is_counted_once(
    counter: Counter, callbacks: Callbacks | None
) -> None:
    desk = Desk(counter, callbacks)
    desk.path.schedule(Watcher(Scope("id=x"), Protocol(ERRORS[0])))
    assert (desk.handed_over, desk.told) == ([], [ERRORS[0]])
    assert counter.stats()["rejected"]["id invalid"] == 1


@dataclass
class Lacking:
    """A protocol object without the method that answers."""


@pytest.mark.parametrize(
    ("scope", "protocol"),
    [
        (Scope(), Lacking()),
        (Scope(query_string=None), Protocol()),
        (Scope(path=b"/api/verve/accept"), Protocol()),
        (Scope(path="/livez"), Protocol()),
        (Scope(method="POST"), Protocol()),
        (Scope(proto="ws"), Protocol()),
    ],
    ids=repr,
)
def test_what_is_handed_over_was_not_counted(
    counter: Counter, scope: Scope, protocol: object
) -> None:
    desk = Desk(counter, None)
    watcher = Watcher(scope, protocol)
    desk.path.schedule(watcher)
    assert (desk.handed_over, desk.told) == ([watcher], [])
    assert counter.stats()["requests_total"] == 0


def test_nothing_is_raised_into_the_server(counter: Counter) -> None:
    desk = Desk(counter, None)
    desk.stock_error = RuntimeError("no loop")
    desk.path.schedule(Watcher(Scope(path="/livez"), Protocol()))
    assert desk.told == [desk.stock_error]


def test_a_query_without_bytes_is_refused(counter: Counter) -> None:
    desk = Desk(counter, None)
    protocol = Protocol()
    desk.path.schedule(Watcher(Scope("id=7\ud800"), protocol))
    assert protocol.answers == [(400, b"failed")]
    assert counter.stats()["requests_total"] == 0
