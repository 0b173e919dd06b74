"""What was logged in a test. Events are logged by a thread of the background once one has begun."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verve.log import event_log

if TYPE_CHECKING:
    import logging

    import pytest


def records(caplog: pytest.LogCaptureFixture, event: str | None = None) -> list[logging.LogRecord]:
    """All records so far, or those of one event."""
    assert event_log.flush(60)
    return [
        record
        for record in caplog.records
        if event is None or record.__dict__.get("verve_event") == event
    ]


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The names of all events so far, in their order."""
    return [record.__dict__.get("verve_event", record.name) for record in records(caplog)]
