"""A wall clock that is set, by an injected clock: no window twice, none reopened.

Time passes in ticks of 50 ms; at each an id is counted, upkeep is done, and all that the counter
says is compared with a naive model of the rules.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from verve import Counter, ManualClock

if TYPE_CHECKING:
    from verve import WindowRecord

TICK = 50
"""Milliseconds; all time in this file is in whole milliseconds."""
START = 1_800_000_013_000
HOUR = 3_600_000
YEAR = 365 * 24 * HOUR
FOLLOWED = 5_000
PATIENCE = 10_000
GAPS = 60


class Timeline:
    """A counter, its clock, and the model of both."""

    def __init__(self, window: int, *, tends: bool = True) -> None:
        self.clock = ManualClock(START / 1_000)
        self.counter = Counter(window=window, max_ids=10_000, clock=self.clock)
        self.length = window * 1_000
        self.boot = 0
        self.wall = START
        self.offset = START
        self.suspected: tuple[int, int] | None = None
        self.distrusted = False
        self.tends = tends
        self.current = START // self.length
        self.ids = itertools.count()
        self.counted: dict[int, int] = {}
        self.gaps: set[int] = set()
        self.known: dict[int, WindowRecord] = {}

    def step(self, milliseconds: int) -> None:
        """Set the wall clock."""
        self.clock.step(milliseconds / 1_000)
        self.wall += milliseconds

    def run(self, milliseconds: int) -> None:
        """Let time pass."""
        for _ in range(milliseconds // TICK):
            self.clock.advance(TICK / 1_000)
            self.boot += TICK
            self.wall += TICK
            self._count()
            if self.tends:
                self.counter.maintenance.run()
                self._follow()
                self._turn()
            self._compare()

    def _count(self) -> None:
        new, window = self.counter.add_in_window(next(self.ids))
        self._turn()
        assert new
        assert window == self.current * self.length // 1_000, "the window that the clock names"
        assert window not in self.known, "no window is reopened"
        self.counted[window] = self.counted.get(window, 0) + 1

    def _turn(self) -> None:
        now = (self.boot + self.offset) // self.length
        skipped = range(max(self.current + 1, now - GAPS), now)
        self.gaps.update(window * self.length // 1_000 for window in skipped)
        self.current = max(self.current, now)

    def _follow(self) -> None:
        observed = self.wall - self.boot
        difference = observed - self.offset
        if abs(difference) <= FOLLOWED:
            self.offset, self.suspected, self.distrusted = observed, None, False
            return
        self.distrusted = True
        if self.suspected is None or abs(observed - self.suspected[1]) > FOLLOWED:
            self.suspected = (self.boot, observed)
        elif difference > 0 and self.boot - self.suspected[0] >= PATIENCE:
            self.offset, self.suspected, self.distrusted = observed, None, False

    def _compare(self) -> None:
        assert round(self.counter.now() * 1_000) == self.boot + self.offset
        for record in self.counter.closed(3):
            seen = self.known.setdefault(record.window_start, record)
            assert seen == record, "a record never changes"

    def finish(self) -> list[WindowRecord]:
        """Compare all records with the model; they are what it says, and nothing else."""
        records = self.counter.closed()
        starts = [record.window_start for record in records]
        assert starts == sorted(set(starts)), "no window twice"
        current = self.current * self.length // 1_000
        assert {r.window_start: r.unique for r in records if not r.gap} == {
            window: count for window, count in self.counted.items() if window != current
        }
        assert {r.window_start for r in records if r.gap} == self.gaps
        assert all(r.unique == r.requests == 0 for r in records if r.gap)
        for record in self.known.values():
            assert record in records
        self.counter.close()
        return records

    def trusted(self) -> bool:
        """Whether the wall clock is believed, by the counter and by the model alike."""
        stats = self.counter.stats()
        assert bool(stats["clock_distrusted"]) == self.distrusted
        if self.tends:
            assert round(stats["skew_seconds"] * 1_000) == self.wall - self.boot - self.offset or (
                not self.distrusted
            )
        return not self.distrusted


def follows(timeline: Timeline) -> bool:
    """Whether the segment's clock is the wall clock."""
    return round(timeline.counter.now() * 1_000) == timeline.wall


WINDOWS = pytest.mark.parametrize("window", [1, 2, 60])


@WINDOWS
@pytest.mark.parametrize("step", [-5_000, -1_000, -50, 50, 1_000, 5_000])
def test_a_small_step_is_followed_at_once(window: int, step: int) -> None:
    timeline = Timeline(window)
    timeline.run(9_000)
    timeline.step(step)
    timeline.run(TICK)
    assert follows(timeline)
    assert timeline.trusted()
    timeline.run(130_000 if window == 60 else 20_000)
    timeline.finish()


@WINDOWS
@pytest.mark.parametrize("step", [-HOUR, -90_000, -5_050])
def test_a_large_step_back_is_never_followed(window: int, step: int) -> None:
    timeline = Timeline(window)
    timeline.run(9_000)
    timeline.step(step)
    for _ in range(10):
        timeline.run(10_000)
        assert not follows(timeline)
        assert not timeline.trusted()
    # The wall clock catches up, but for two seconds: that is a small step back.
    timeline.step(-step - 2_000)
    timeline.run(TICK)
    assert follows(timeline)
    assert timeline.trusted()
    timeline.run(5_000)
    assert not any(record.gap for record in timeline.finish())


@WINDOWS
@pytest.mark.parametrize("step", [5_050, 90_000, HOUR])
def test_a_large_step_forward_is_followed_once_it_has_lasted(window: int, step: int) -> None:
    timeline = Timeline(window)
    timeline.run(9_000)
    timeline.step(step)
    timeline.run(PATIENCE)
    assert not follows(timeline)
    assert not timeline.trusted()
    timeline.run(TICK)
    assert follows(timeline)
    assert timeline.trusted()
    timeline.run(5_000)
    gaps = [record for record in timeline.finish() if record.gap]
    assert len(gaps) <= GAPS
    if step >= GAPS * window * 1_000 + 2_000:
        assert len(gaps) == GAPS


@WINDOWS
@pytest.mark.parametrize("glitch", [YEAR, -YEAR, HOUR, -90_000, 6_000])
@pytest.mark.parametrize("lasts", [TICK, 1_000, PATIENCE])
def test_a_glitch_changes_nothing(window: int, glitch: int, lasts: int) -> None:
    timeline = Timeline(window)
    timeline.run(9_000)
    for _ in range(2):
        timeline.step(glitch)
        timeline.run(lasts)
        assert not timeline.trusted()
        timeline.step(-glitch)
        timeline.run(1_000)
        assert follows(timeline)
        assert timeline.trusted()
    timeline.run(65_000 if window == 60 else 5_000)
    assert not any(record.gap for record in timeline.finish())


def test_a_wall_clock_that_does_not_settle_is_not_believed() -> None:
    timeline = Timeline(1)
    for step in (HOUR, HOUR, -HOUR, HOUR, HOUR, 300_000, 300_000, -HOUR):
        timeline.step(step)
        timeline.run(9_000)
        assert not timeline.trusted()
    timeline.run(1_050)
    assert follows(timeline)
    assert len([record for record in timeline.finish() if record.gap]) == GAPS


# The ring has 1,440 places, by the number of the window: the last is not a multiple of it away.
@pytest.mark.parametrize("pause", [1_000, 59_000, 61_000, 62_000, HOUR, YEAR + 500_000])
def test_time_in_which_nobody_was_there(pause: int) -> None:
    """As after a suspension or a stop: both clocks went on, and nobody counted or tended."""
    timeline = Timeline(1)
    timeline.run(3_000)
    timeline.clock.advance(pause / 1_000)
    timeline.boot += pause
    timeline.wall += pause
    timeline.run(3_000)
    gaps = [record.window_start for record in timeline.finish() if record.gap]
    assert len(gaps) == min(pause // 1_000 - 1, GAPS)


def test_the_clock_of_the_segment_is_that_of_all_who_use_it() -> None:
    """Nobody tends, and the window turns by boot time until somebody has seen the step for long."""
    clock = ManualClock(START / 1_000)
    with Counter(window=60, clock=clock, max_ids=1_000) as counter:
        before = counter.now()
        clock.step(90)
        assert counter.now() == before
        counter.add(1)
        assert counter.stats()["clock_distrusted"] == 0
        clock.advance(60)
        counter.add(1)
        assert counter.stats()["clock_distrusted"] == 1
        assert counter.stats()["skew_seconds"] == 90
        clock.advance(60)
        counter.add(1)
        assert counter.stats()["clock_distrusted"] == 0
        assert counter.now() == before + 120 + 90
