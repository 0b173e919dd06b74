"""The counter as a library: windows that are held, sealed, listed; all of it against a model."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from verve import CapacityError, Counter, ManualClock, SettingError, WindowRecord

NOW = 1_800_000_000
HELD = 5


@pytest.fixture
def clock() -> ManualClock:
    """A clock at the start of a minute."""
    return ManualClock(NOW)


def test_a_record_says_all_of_its_window(clock: ManualClock) -> None:
    with Counter(max_ids=100, clock=clock) as counter:
        clock.advance(10.25)
        counter.add_many([1, 2, 2, 3])
        counter.add(3)
        counter.http.accept("id=x")
        counter.http.accept("id=4")
        now = counter.current()
        assert (now.window_start, now.window_seconds) == (NOW, 60)
        assert (now.unique, now.requests, now.duplicates) == (4, 6, 2)
        assert (now.late, now.rejected, now.gap, now.sealed_at) == (0, 1, False, 0.0)
        clock.advance(60)
        [record] = counter.closed()
        assert (record.window_start, record.window_seconds) == (NOW, 60)
        assert (record.unique, record.requests, record.duplicates) == (4, 6, 2)
        assert (record.late, record.rejected, record.gap) == (0, 1, False)
        assert record.sealed_at == NOW + 70.25
        assert counter.ring.newest() == NOW
        assert counter.current().rejected == 0


def test_a_record_is_shown_compared_and_left_alone(clock: ManualClock) -> None:
    with Counter(max_ids=100, clock=clock) as counter:
        counter.add(1)
        record = counter.seal()
        assert repr(record) == (
            f"WindowRecord(window_start={NOW}, window_seconds=60, unique=1, requests=1, gap=False)"
        )
        assert record == counter.closed()[0]
        assert record != counter.seal()
        assert record.__eq__(1) is NotImplemented
        with pytest.raises(AttributeError):
            record.unique = 5  # type: ignore[misc]
        with pytest.raises(TypeError):
            WindowRecord()
        assert "Counter" in repr(counter)


def test_sealing_begins_the_next_window_early(clock: ManualClock) -> None:
    with Counter(max_ids=100, clock=clock) as counter:
        counter.add(1)
        first = counter.seal()
        assert (first.window_start, first.unique) == (NOW, 1)
        assert counter.add_in_window(1) == (True, NOW + 60)
        second = counter.seal()
        assert (second.window_start, second.unique) == (NOW + 60, 1)
        third = counter.seal()
        assert (third.window_start, third.unique, third.gap) == (NOW + 120, 0, False)
        assert counter.closed() == [first, second, third]
        # The clock comes to where the windows are, and nothing is turned a second time.
        for _ in range(4):
            assert counter.current().window_start == NOW + 180
            assert counter.closed() == [first, second, third]
            clock.advance(59)
        clock.advance(4)
        assert counter.current().window_start == NOW + 240


def test_sealing_after_the_end_of_the_window_closes_that(clock: ManualClock) -> None:
    with Counter(max_ids=100, clock=clock) as counter:
        counter.add(1)
        clock.advance(180)
        record = counter.seal()
        assert (record.window_start, record.unique) == (NOW, 1)
        assert counter.current().window_start == NOW + 180
        assert [r.gap for r in counter.closed()] == [False, True, True]


def test_closed_gives_the_newest(clock: ManualClock) -> None:
    with Counter(max_ids=100, clock=clock) as counter:
        assert counter.closed() == []
        for number in range(10):
            counter.add_many(range(number))
            clock.advance(60)
        records = counter.closed()
        assert [record.unique for record in records] == list(range(10))
        for limit in (0, 1, 3, 9, 10, 11, 1 << 40):
            assert counter.closed(limit) == (records[-limit:] if limit else [])
        assert counter.closed(None) == records
        with pytest.raises((SettingError, OverflowError)):
            counter.closed(-1)
        with pytest.raises(TypeError):
            counter.closed("3")  # type: ignore[arg-type]


def test_a_day_of_minutes_is_kept(clock: ManualClock) -> None:
    with Counter(max_ids=10, clock=clock) as counter:
        for number in range(1_500):
            counter.add_many(range(number % 7))
            clock.advance(60)
        records = counter.closed()
        assert len(records) == 1_439
        starts = [record.window_start for record in records]
        assert starts == [NOW + 60 * number for number in range(61, 1_500)]
        assert [record.unique for record in records] == [n % 7 for n in range(61, 1_500)]


def test_ids_are_of_the_current_window_or_of_a_held_one(clock: ManualClock) -> None:
    with Counter(max_ids=100, clock=clock) as counter:
        counter.add_many([1, 2])
        assert sorted(counter.ids()) == sorted(counter.ids(NOW)) == [1, 2]
        assert counter.ids().typecode == "q"
        assert counter.hold() == NOW
        clock.advance(60)
        counter.add(3)
        assert sorted(counter.ids(NOW)) == [1, 2]
        assert list(counter.ids(NOW + 60)) == [3]
        counter.release(NOW)
        clock.advance(60)
        counter.count()
        for window in (NOW, NOW + 60, NOW - 60, NOW + 1, NOW + 180, 0, 1 << 62):
            with pytest.raises(SettingError, match="not kept"):
                counter.ids(window)
        for window in (-60, 1 << 70):
            with pytest.raises((SettingError, OverflowError)):
                counter.ids(window)
        for wrong in ("x", 1.0):
            with pytest.raises(TypeError):
                counter.ids(wrong)  # type: ignore[arg-type]


def test_a_window_is_released_as_often_as_it_is_held(clock: ManualClock) -> None:
    with Counter(max_ids=100, clock=clock) as counter:
        counter.add(1)
        assert counter.hold() == counter.hold() == NOW
        clock.advance(60)
        counter.add(1)
        counter.release(NOW)
        counter.maintenance.run()
        assert list(counter.ids(NOW)) == [1], "held once more"
        counter.release(NOW)
        counter.maintenance.run()
        with pytest.raises(SettingError):
            counter.ids(NOW)
        for window in (NOW, NOW + 60, 5):
            with pytest.raises(SettingError, match="not kept"):
                counter.release(window)
        for window in (-60, 1 << 70):
            with pytest.raises((SettingError, OverflowError)):
                counter.release(window)
        assert counter.add(2), "nothing was released that was not held"


def test_holding_is_let_go_by_close(tmp_path: Any, clock: ManualClock) -> None:  # noqa: ANN401
    with Counter(tmp_path / "segment", max_ids=100, clock=clock) as counter:
        with Counter(tmp_path / "segment", clock=clock) as other:
            assert other.hold() == NOW
            with pytest.raises(SettingError):
                counter.release(NOW)
        clock.advance(60)
        counter.add(1)
        counter.maintenance.run()
        with pytest.raises(SettingError):
            counter.ids(NOW)


class Windows(RuleBasedStateMachine):
    """A counter beside a naive model of it: sets by window."""

    @initialize(at=st.integers(0, 59_999))
    def begin(self, at: int) -> None:
        """Begin somewhere in a minute."""
        self.clock = ManualClock(NOW)
        self.clock.advance(at / 1_000)
        self.now = NOW * 1_000 + at
        self.counter = Counter(max_ids=10_000, clock=self.clock)
        self.current = NOW
        self.windows: dict[int, set[int]] = {NOW: set()}
        self.requests = {NOW: 0}
        self.gaps: set[int] = set()
        self.held: list[int] = []

    def _turn(self, to: int | None = None) -> None:
        now = self.now // 60_000 * 60 if to is None else to
        if now > self.current:
            self.gaps.update(range(max(self.current + 60, now - 3_600), now, 60))
            self.current = now
            self.windows[now] = set()
            self.requests[now] = 0

    @rule(id=st.integers(-30, 30))
    def add(self, id: int) -> None:
        """One id, of few."""
        self._turn()
        new = id not in self.windows[self.current]
        assert self.counter.add_in_window(id) == (new, self.current)
        self.windows[self.current].add(id)
        self.requests[self.current] += 1

    @rule(ids=st.lists(st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(-30, 30), max_size=60))
    def add_many(self, ids: list[int]) -> None:
        """Some ids; none at all do not even turn the window."""
        if ids:
            self._turn()
        before = len(self.windows[self.current])
        self.windows[self.current].update(ids)
        new = len(self.windows[self.current]) - before
        assert self.counter.add_many_by_window(ids) == ([(self.current, new)] if ids else [])
        self.requests[self.current] += len(ids)

    @rule(seconds=st.sampled_from([0.001, 1, 29.5, 60, 61, 180, 5_000]))
    def pass_time(self, seconds: float) -> None:
        """Less than a window, a window, some windows, more than are published as gaps."""
        self.clock.advance(seconds)
        self.now += round(seconds * 1_000)

    @rule()
    def seal(self) -> None:
        """Close the window now, which may have ended already."""
        window = self.current
        record = self.counter.seal()
        assert (record.window_start, record.unique) == (window, len(self.windows[window]))
        self._turn(max(self.now // 60_000 * 60, window + 60))

    @precondition(lambda self: len(self.held) < HELD)
    @rule()
    def hold(self) -> None:
        """Keep the ids of the current window."""
        self._turn()
        assert self.counter.hold() == self.current
        self.held.append(self.current)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        """Let go of any held window."""
        window = data.draw(st.sampled_from(self.held))
        self.held.remove(window)
        self.counter.release(window)

    @rule()
    def tend(self) -> None:
        """Upkeep changes nothing that can be seen."""
        self._turn()
        self.counter.maintenance.run()

    @rule()
    def current_window(self) -> None:
        """The current window agrees with the model."""
        self._turn()
        record = self.counter.current()
        assert (record.window_start, record.unique, record.requests) == (
            self.current,
            len(self.windows[self.current]),
            self.requests[self.current],
        )
        assert set(self.counter.ids()) == self.windows[self.current]

    @rule()
    def closed(self) -> None:
        """The records agree with the model, and none is missing."""
        self._turn()
        closed = {r.window_start: r for r in self.counter.closed()}
        assert list(closed) == sorted(closed)
        counted = {w: ids for w, ids in self.windows.items() if w < self.current}
        assert {w for w, r in closed.items() if r.gap} <= self.gaps
        for window, ids in counted.items():
            if window in closed:
                assert closed[window].unique == len(ids)
                assert closed[window].requests == self.requests[window]
        newest = sorted({*counted, *self.gaps})[-60:]
        assert set(newest) <= set(closed), "no window is missing"

    @invariant()
    def held_windows_are_whole(self) -> None:
        """What is held is there, whatever was done since."""
        for window in set(self.held):
            assert set(self.counter.ids(window)) == self.windows[window]

    def teardown(self) -> None:
        """Close the counter."""
        if hasattr(self, "counter"):
            self.counter.close()


TestWindows = Windows.TestCase
TestWindows.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_no_arena_is_left_when_too_many_are_held(clock: ManualClock) -> None:
    with Counter(max_ids=100, clock=clock) as counter:
        for _ in range(16):
            counter.hold()
            clock.advance(60)
        with pytest.raises(CapacityError, match="hint: ") as caught:
            counter.hold()
        assert caught.value.reason == "arena"
