from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.support import logged
from verve.log import event_log, events
from verve.log.background import Notices

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.alone(reason="judges how long a call takes")


@contextlib.contextmanager
def added(handler: logging.Handler) -> Iterator[None]:
    """A handler of the user on the logger of the service."""
    level = event_log.logger.level
    event_log.logger.addHandler(handler)
    event_log.logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        event_log.flush(5)
        event_log.logger.removeHandler(handler)
        event_log.logger.setLevel(level)


def test_they_are_logged_in_order(caplog: pytest.LogCaptureFixture) -> None:
    notices = Notices()
    with caplog.at_level("INFO", logger="verve"):
        for term in range(20):
            notices.put(events.LEADER_STARTED, term=term)
        told = logged.records(caplog)
    assert [record.__dict__["verve_fields"]["term"] for record in told] == [*range(20)]


@pytest.mark.parametrize("way", ["put", "emit"])
def test_no_caller_waits_for_a_log_that_is_stuck(way: str) -> None:
    stuck = threading.Event()

    class Stuck(logging.Handler):
        """Waits, as a pipe does that nobody reads."""

        def emit(self, _record: logging.LogRecord) -> None:
            """Wait."""
            stuck.wait(30)

    with added(Stuck()):
        start = time.monotonic()
        for term in range(5_000):
            if way == "put":
                Notices().put(events.LEADER_STARTED, term=term)
            else:
                events.LEADER_STARTED.emit(term=term)
        assert not event_log.flush(0.05)
        # It has not moved for longer than this, so it costs no further wait.
        again = time.monotonic()
        assert not event_log.flush(0.05)
        assert time.monotonic() - again < 0.05
        assert time.monotonic() - start < 5
        assert event_log._events.waiting() <= 2_000
        stuck.set()


def test_a_filter_or_handler_that_raises_ends_no_later_line() -> None:
    found: list[int] = []

    class Raises(logging.Handler):
        """Raises for every second event."""

        def emit(self, record: logging.LogRecord) -> None:
            """Keep it, or raise."""
            term = record.__dict__["verve_fields"]["term"]
            if term % 2:
                raise RuntimeError("handler of the user")
            found.append(term)

    def refuse(record: logging.LogRecord) -> bool:
        if record.__dict__["verve_fields"]["term"] == 4:
            raise ValueError("filter of the user")
        return True

    handler = Raises()
    handler.addFilter(refuse)
    with added(handler):
        for term in range(8):
            Notices().put(events.LEADER_STARTED, term=term)
        assert event_log.flush(5)
    assert found == [0, 2, 6]
