"""What each unit test leaves behind for the next: nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from verve.notices import Notices

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _all_notices_written(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A thread writes notices some time later: not into the log of the next test."""
    made: list[Notices] = []
    begin = Notices.__init__

    def note(self: Notices) -> None:
        begin(self)
        made.append(self)

    monkeypatch.setattr(Notices, "__init__", note)
    yield
    for notices in made:
        assert notices.flush(60)
