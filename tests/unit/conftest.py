"""No unit test leaves anything behind for the next one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from verve.log import event_log

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _all_events_logged() -> Iterator[None]:
    """Wait for the thread that logs events, so that none appears in the log of the next test."""
    yield
    assert event_log.flush(60)
