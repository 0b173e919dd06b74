from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.support import logged, rig
from verve.backoff import Backoff
from verve.publishing.sink_worker import SinkWorker
from verve.sinks import Scope, SinkError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from verve.windows.window import Window


class Moody:
    """A sink that fails as the test says: before it took the window, or right after."""

    name = "moody"
    scope = Scope.HOST

    def __init__(self, moods: list[str]) -> None:
        self.moods = moods
        self.taken: list[Window] = []

    def take(self, window: Window) -> None:
        """Take it, or not."""
        mood = self.moods.pop(0) if self.moods else "good"
        if mood != "refuses":
            self.taken.append(window)
        if mood != "good":
            raise SinkError("in a bad mood")

    def interrupt(self) -> None:
        """It never waits."""

    def close(self) -> None:
        """Nothing is held."""


class Shelf:
    """A queue over a list; `deposed_at` is the number of notes after which another leads."""

    def __init__(self, windows: list[Window], deposed_at: int = 10**9) -> None:
        self.windows = windows
        self.noted = 0
        self._deposed_at = deposed_at

    def pending(self) -> Iterator[Window]:
        """What was not noted."""
        yield from self.windows[self.noted :]

    def mark_taken(self, window: Window) -> bool:
        """Count it."""
        assert window == self.windows[self.noted]
        self.noted += 1
        return self.noted < self._deposed_at

    def close(self) -> None:
        """Nothing is held."""


def _worker(sink: Moody, shelf: Shelf) -> SinkWorker:
    worker = SinkWorker(sink, shelf)
    worker._backoff = Backoff(first=0.0)
    return worker


WINDOWS = [rig.window(n, n) for n in range(5)]


def test_all_are_delivered_in_order() -> None:
    sink, shelf = Moody([]), Shelf(WINDOWS)
    assert _worker(sink, shelf).step() is None
    assert sink.taken == WINDOWS


@hypothesis_settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(["good", "refuses", "is unsure"]), max_size=20))
def test_every_window_arrives_at_least_once_and_in_order(moods: list[str]) -> None:
    sink, shelf = Moody(list(moods)), Shelf(WINDOWS)
    worker = _worker(sink, shelf)
    for _ in range(len(moods) + 1):
        worker.step()
    assert shelf.noted == len(WINDOWS)
    assert [w for n, w in enumerate(sink.taken) if w not in sink.taken[:n]] == WINDOWS
    assert sorted(sink.taken, key=lambda window: window.window_start) == sink.taken
    assert worker.state.attempts == 0
    assert worker.state.error is None


def test_a_failure_is_reported_and_followed_by_a_pause() -> None:
    sink, shelf = Moody(["refuses"]), Shelf(WINDOWS)
    worker = SinkWorker(sink, shelf)
    pause = worker.step()
    assert pause is not None
    assert 0 < pause <= 0.1
    assert worker.state.attempts == 1
    assert worker.state.error == "in a bad mood"
    assert worker.step() is not None
    assert sink.taken == []
    time.sleep(pause)
    assert worker.step() is None
    assert sink.taken == WINDOWS


def test_a_deposed_worker_stops() -> None:
    sink, shelf = Moody([]), Shelf(WINDOWS, deposed_at=2)
    assert _worker(sink, shelf).step() is None
    assert sink.taken == WINDOWS[:2]


def test_events_report_a_failure_and_its_end(caplog: pytest.LogCaptureFixture) -> None:
    worker = _worker(Moody(["refuses"] * 5), Shelf(WINDOWS))
    with caplog.at_level("INFO", logger="verve"):
        for _ in range(6):
            worker.step()
        events = logged.events(caplog)
    # The first, second and fourth failure, and the end of it.
    assert events == ["sink.delayed"] * 3 + ["sink.recovered"]


def test_pauses_grow_up_to_a_bound() -> None:
    backoff = Backoff(first=1.0, longest=8.0)
    assert backoff.remaining == 0
    for longest in (1, 2, 4, 8, 8, 8):
        backoff.failed()
        assert longest / 2 - 0.1 < backoff.remaining <= longest
    assert backoff.succeeded() == 6
    assert backoff.remaining == 0
    assert backoff.succeeded() == 0


def test_a_long_outage_does_not_overflow() -> None:
    backoff = Backoff(longest=0.0)
    backoff.attempts = 10**6
    backoff.failed()


@pytest.mark.parametrize("attempts", range(1, 20))
def test_failures_are_logged_ever_less_often(attempts: int) -> None:
    backoff = Backoff()
    told = [backoff.failed() for _ in range(attempts)]
    assert told[-1] is (attempts in {1, 2, 4, 8, 16})
