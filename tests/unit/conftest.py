"""What each unit test leaves behind for the next: nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from verve.log import event_log

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _all_events_logged() -> Iterator[None]:
    """A thread logs events some time later: not into the log of the next test."""
    yield
    assert event_log.flush(60)
