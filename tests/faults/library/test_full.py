"""No room: in the table, on the file system, among the arenas. Always an error, never a signal.

Counters that could be ended by a signal live in processes of their own, whose death fails the test.
"""

from __future__ import annotations

import os
from array import array
from bisect import bisect
from typing import TYPE_CHECKING

import pytest

from tests.support.processes.parts import Opening
from verve import CapacityError, Counter, ManualClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.processes.parts import Remote

NOW = 1_800_000_000.0
FIRST = 1_800_000_000


def fill(counter: Counter) -> list[int]:
    """Count new ids until the table is full; those that were counted."""
    ids: list[int] = []

    def add_on() -> None:
        for id in range(1 << 20):
            assert counter.add(id)
            ids.append(id)

    with pytest.raises(CapacityError) as caught:
        add_on()
    error = caught.value
    assert (error.reason, error.recorded, error.windows) == ("full", 0, [])
    return ids


@pytest.mark.parametrize("max_ids", [1, 100, 10_000])
def test_a_full_table_refuses_new_ids_only(max_ids: int) -> None:
    clock = ManualClock(NOW)
    with Counter(max_ids=max_ids, clock=clock) as counter:
        for _ in range(3):
            window = counter.hold()
            ids = fill(counter)
            assert len(ids) >= max_ids, "as many fit as it was made for"
            assert not any(counter.add(id) for id in ids), "what is there is there"
            assert counter.count() == len(ids)
            assert sorted(counter.ids()) == ids
            assert counter.current().requests == 2 * len(ids)
            clock.advance(60)
            assert counter.add(-1), "the window after has room"
            [record] = counter.closed(1)
            assert (record.window_start, record.unique) == (window, len(ids))
            assert record.requests == 2 * len(ids)
            assert sorted(counter.ids(window)) == ids
            counter.release(window)
            clock.advance(60)


@pytest.mark.parametrize("kind", [array, list])
def test_a_batch_that_fills_the_table_says_how_far_it_came(kind: type) -> None:
    clock = ManualClock(NOW)
    batch = range(10_000)
    ids = array("q", batch) if kind is array else list(batch)
    with Counter(max_ids=1_000, clock=clock) as counter:
        assert counter.add_many([-1, -2]) == 2
        with pytest.raises(CapacityError) as caught:
            counter.add_many_by_window(ids)
        error = caught.value
        assert error.reason == "full"
        assert 998 <= error.recorded < len(batch)
        assert error.windows == [(FIRST, error.recorded)]
        assert sorted(counter.ids()) == [-2, -1, *batch[: error.recorded]]
        assert counter.current().requests == error.recorded + 2
        with pytest.raises(CapacityError) as again:
            counter.add_many(ids)
        assert again.value.recorded == error.recorded
        assert again.value.windows == [(FIRST, 0)]
        assert counter.add_many(ids[: error.recorded]) == 0
        clock.advance(60)
        assert counter.add_many(ids[:1_000]) == 1_000
        assert [record.unique for record in counter.closed()] == [error.recorded + 2]


def leave(disk: Path, free: int) -> Path:
    """Fill a file system but for some bytes; the file that does so."""
    filler = disk / "filler"
    available = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, available - free)
    return filler


def free_bytes(disk: Path) -> int:
    return os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize


def test_a_small_file_system_bounds_the_table(
    small_disk: Path, remote: Callable[[Opening], Remote]
) -> None:
    counter = remote(Opening(small_disk / "segment", max_ids=1_000_000, wall=NOW))
    batch = range(400_000)
    expected = []
    for number in range(8):
        window = counter.call("hold")
        assert window == FIRST + 60 * number
        with pytest.raises(CapacityError) as caught:
            counter.call("add_many_by_window", batch)
        recorded = caught.value.recorded
        assert caught.value.reason == "space"
        assert 10_000 < recorded < len(batch)
        assert caught.value.windows == [(window, recorded)]
        with pytest.raises(CapacityError, match="no room for the table to grow"):
            counter.call("add_many", range(-400_000, -1))
        ids = sorted(counter.call("ids"))
        assert ids[bisect(ids, -1) :] == list(range(recorded))
        assert counter.call("add_many", range(recorded)) == 0
        assert counter.call("count") == len(ids)
        expected.append((window, len(ids)))
        counter.call("maintenance.populate")
        counter.call("maintenance.run")
        # The window after begins in what is left, and the old one is whole and still there.
        counter.call("clock_advance", 60.0)
        assert counter.call("add", -1)
        assert not counter.call("add", -1)
        closed = counter.call("closed")
        assert [(record.window_start, record.unique) for record in closed] == expected
        assert sorted(counter.call("ids", window)) == ids
        counter.call("release", window)
        counter.call("maintenance.run")


def test_space_that_comes_back_is_used_in_the_same_window(
    small_disk: Path, remote: Callable[[Opening], Remote]
) -> None:
    counter = remote(Opening(small_disk / "segment", max_ids=1_000_000, wall=NOW))
    assert counter.call("add", -1)
    filler = leave(small_disk, 4096)
    with pytest.raises(CapacityError) as caught:
        counter.call("add_many", range(80_000))
    recorded = caught.value.recorded
    assert caught.value.reason == "space"
    counter.call("maintenance.run")
    counter.call("maintenance.populate")
    filler.unlink()
    assert counter.call("add_many", range(80_000)) == 80_000 - recorded
    assert counter.call("count") == 80_001


def as_many_as_fit(counter: Remote, ids: range) -> int:
    """How many of a batch were recorded; all, or as many as there is space for."""
    try:
        counter.call("add_many", ids)
    except CapacityError as error:
        return error.recorded
    return len(ids)


@pytest.mark.parametrize("windows", [3, 40])
def test_a_file_system_that_is_full_for_some_windows(
    small_disk: Path, remote: Callable[[Opening], Remote], windows: int
) -> None:
    """Each arena has a page for good: windows turn, are published and count some ids."""
    counter = remote(Opening(small_disk / "segment", max_ids=1_000_000, wall=NOW))
    assert counter.call("add_many", range(100)) == 100
    filler = leave(small_disk, 0)
    expected = [100]
    for _ in range(windows):
        counter.call("clock_advance", 60.0)
        assert counter.call("add", -1)
        with pytest.raises(CapacityError) as caught:
            counter.call("add_many_by_window", range(150_000))
        assert caught.value.reason == "space"
        assert 100 < caught.value.recorded < 150_000
        assert [record.unique for record in counter.call("closed")] == expected
        expected.append(caught.value.recorded + 1)
        counter.call("maintenance.run")
        counter.call("maintenance.populate")
    filler.unlink()
    # The window that began small grows on, and the next one begins as large as it has to be.
    recorded = as_many_as_fit(counter, range(150_000))
    assert recorded >= expected[-1]
    expected[-1] = recorded + 1
    counter.call("clock_advance", 60.0)
    assert counter.call("add_many", range(50_000)) == 50_000
    records = counter.call("closed")
    assert [record.unique for record in records] == expected
    assert [record.window_start for record in records] == [
        FIRST + 60 * number for number in range(windows + 1)
    ], "no window is missing"
    assert not any(record.gap for record in records)
    counter.call("maintenance.run")
    assert counter.call("stats")["arenas"]["free"] >= 14, "no arena is lost for good"


def test_upkeep_ahead_of_need_keeps_full_file_systems_from_being_noticed(
    small_disk: Path, remote: Callable[[Opening], Remote]
) -> None:
    counter = remote(Opening(small_disk / "segment", max_ids=1_000_000, wall=NOW))
    counter.call("maintenance.run")
    leave(small_disk, 0)
    for number in range(40):
        assert counter.call("add_many", range(1_000)) == 1_000
        counter.call("clock_advance", 60.0)
        counter.call("maintenance.run")
        assert [record.unique for record in counter.call("closed")] == [1_000] * (number + 1)


def test_a_segment_that_does_not_fit_is_not_made(small_disk: Path) -> None:
    filler = leave(small_disk, 600 << 10)
    with pytest.raises(CapacityError) as caught:
        Counter(small_disk / "segment")
    assert caught.value.reason == "space"
    assert {path.name for path in small_disk.iterdir()} <= {"filler", "segment.lock"}
    filler.unlink()
    with Counter(small_disk / "segment", max_ids=1_000) as counter:
        assert counter.add(1)


def test_held_windows_use_up_the_arenas() -> None:
    clock = ManualClock(NOW)
    with Counter(max_ids=1_000, clock=clock) as counter:
        held = []
        for number in range(16):
            held.append(counter.hold())
            assert counter.add(number)
            clock.advance(60)
        for _ in range(3):
            for call in (lambda: counter.add(1), counter.count, counter.hold, counter.seal):
                with pytest.raises(CapacityError, match="no arena is free") as caught:
                    call()
                assert (caught.value.reason, caught.value.recorded) == ("arena", 0)
            with pytest.raises(CapacityError) as caught:
                counter.add_many([1, 2, 3])
            assert (caught.value.reason, caught.value.recorded) == ("arena", 0)
            clock.advance(60)
        for number, window in enumerate(held[:-1]):
            assert list(counter.ids(window)) == [number]
        counter.release(held.pop(5))
        assert counter.add(1)
        records = counter.closed()
        assert [record.window_start for record in records] == [
            FIRST + 60 * number for number in range(19)
        ]
        assert [record.unique for record in records] == [*[1] * 16, 0, 0, 0]
        assert [record.gap for record in records] == [*[False] * 16, True, True, True]
        for window in held:
            assert len(counter.ids(window)) == 1
            counter.release(window)
        counter.maintenance.run()
        assert counter.stats()["arenas"] == {"free": 15, "open": 1, "sealed": 0}


def test_arenas_held_by_the_dead_are_free(
    segment: Path, remote: Callable[[Opening], Remote]
) -> None:
    clock = ManualClock(NOW)
    holders = []
    with Opening(segment).open(clock) as counter:
        for number in range(16):
            assert counter.add(number)
            holders.append(remote(Opening(segment, wall=NOW)))
            assert holders[-1].call("hold") == FIRST + 60 * number
            clock.advance(60)
        with pytest.raises(CapacityError) as caught:
            counter.add(0)
        assert caught.value.reason == "arena"
        for holder in holders[3:5]:
            holder.child.kill()
            holder.child.join()
        for _ in range(4):
            assert counter.add(0)
            clock.advance(60)
        for number in (0, 1, 2, 5, 15):
            assert list(holders[number].call("ids", FIRST + 60 * number)) == [number]
        assert [record.unique for record in counter.closed()] == [1] * 20
