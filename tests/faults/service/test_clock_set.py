"""The wall clock is set under a running service: ids stay in the windows of their answers."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.support.service import ACCEPT, Server, Service
from tests.support.wall_clock import WallClock, available

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WINDOW = 2


class Caller:
    """Sends ids, each once, and counts the windows that the answers name."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.counted: Counter[int] = Counter()
        self._ids = itertools.count()

    def lead(self) -> float:
        """Seconds from now to the end of the window of one more id."""
        answer = self.service.get(f"{ACCEPT}?id={next(self._ids)}&verdict=1")
        assert (answer.text, answer.headers["verve-seen"]) == ("ok", "new")
        window = int(answer.headers["verve-window"])
        assert window >= max(self.counted, default=0), "no window is opened again"
        self.counted[window] += 1
        return window + WINDOW - time.time()

    def until(self, met: Callable[[float], bool], what: str) -> None:
        """Send until it is met by a lead."""
        self.service.wait_until(lambda: met(self.lead()), 30, what)

    def is_distrusted(self) -> bool:
        """Whether the service distrusts its clock."""
        return self.service.metrics()["verve_clock_distrusted"] == 1


@pytest.mark.timeout(120)
@pytest.mark.skipif(not available(), reason="no C compiler; hint: scripts/setup installs it")
@pytest.mark.parametrize("server", [Server.GRANIAN, Server.NATIVE])
def test_ids_stay_in_the_windows_of_their_answers(server: Server, tmp_path: Path) -> None:
    clock = WallClock(tmp_path / "clock")
    with Service(
        tmp_path, server, workers=2, window=WINDOW, environment=clock.environment
    ) as service:
        caller = Caller(service)
        assert 0 <= caller.lead() <= WINDOW

        clock.set(4)
        caller.until(lambda lead: lead > WINDOW, "following a small step")
        # Neither a large step that has not lasted nor any large step back is followed.
        for step in (3_600, -3_600, -40):
            clock.set(step)
            service.wait_until(caller.is_distrusted, 10, "distrusting its clock")
            assert caller.lead() < 4 + WINDOW
            clock.set(4)
            service.wait_until(lambda: not caller.is_distrusted(), 10, "trusting it again")
        clock.set(24)
        caller.until(lambda lead: lead > 20, "following a large step that lasts")
        assert not caller.is_distrusted()

        clock.set(0)
        service.wait_until(caller.is_distrusted, 10, "distrusting its clock")
        assert caller.lead() > 20 - WINDOW
        last = max(caller.counted)
        service.wait_minute(last)
        minutes = [one for one in service.minutes() if min(caller.counted) <= one.window_start]
    found = {one.window_start: one.unique for one in minutes if one.window_start <= last}
    assert found == {start: caller.counted[start] for start in range(min(found), last + 1, WINDOW)}
    # Skipped windows have a line of their own, once.
    assert len(minutes) == len({one.window_start for one in minutes})
    assert len([one for one in minutes if one.fields.get("gap")]) >= 8
