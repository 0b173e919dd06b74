from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from verve import events, log
from verve.notices import Notices

if TYPE_CHECKING:
    import pytest


def test_they_are_logged_in_order(caplog: pytest.LogCaptureFixture) -> None:
    notices = Notices()
    with caplog.at_level("INFO", logger="verve"):
        for term in range(20):
            notices.put(events.LEADER_STARTED, term=term)
        assert notices.flush(5)
    assert [record.__dict__["verve_fields"]["term"] for record in caplog.records] == [*range(20)]


def test_nobody_waits_for_a_log_that_is_stuck() -> None:
    stuck = threading.Event()

    class Stuck(logging.Handler):
        """Waits, as a pipe does that nobody reads."""

        def emit(self, _record: logging.LogRecord) -> None:
            """Wait."""
            stuck.wait(30)

    handler = Stuck()
    level = log.logger.level
    log.logger.addHandler(handler)
    log.logger.setLevel(logging.INFO)
    try:
        notices = Notices()
        start = time.monotonic()
        for term in range(5_000):
            notices.put(events.LEADER_STARTED, term=term)
        assert not notices.flush(0.05)
        assert time.monotonic() - start < 5
        # One more may be in the hands of the thread.
        assert 999 <= len(notices._waiting) <= 1_000
    finally:
        stuck.set()
        notices.flush(5)
        log.logger.removeHandler(handler)
        log.logger.setLevel(level)
