"""The oracle that judges the kills finds each kind of fault that is planted in what it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.support.processes.journal import ATTACHED, Journal
from tests.support.processes.journals import Life, read
from tests.support.processes.oracle import differences
from verve import Counter, ManualClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

W1, W2, W3 = 1_800_000_000, 1_800_000_060, 1_800_000_120


class World:
    """What a counter, its users and an observer would have seen, without any fault."""

    def __init__(self, folder: Path) -> None:
        clock = ManualClock(W1)
        self.observed: dict[int, NDArray[np.int64]] = {}
        self._journals = [folder / "one", folder / "other"]
        one, other = (Journal(path, 100) for path in self._journals)
        for journal in (one, other):
            journal.stage(ATTACHED, W1)
        with Counter(max_ids=1_000, clock=clock) as counter:
            for window in (W1, W2):
                for id in (1, 2, window, 2):
                    one.sent(id)
                    one.answered_one(*counter.add_in_window(id))
                other.sent(100, 50)
                other.answered(counter.add_many_by_window(range(100, 150)))
                self._close(counter, clock, window)
            # A batch over a boundary, and one of a process that was killed inside.
            other.sent(500, 10)
            counter.add_many(range(500, 507))
            self._close(counter, clock, W3)
            counter.add_many(range(507, 510))
            other.answered([(W3, 7), (W3 + 60, 3)])
            one.sent(900, 10)
            counter.add_many(range(900, 904))
            self._close(counter, clock, W3 + 60)
            self.records = counter.closed()
        self.lives = [read(path, W3 + 60) for path in self._journals]

    def _close(self, counter: Counter, clock: ManualClock, window: int) -> None:
        assert counter.hold() == window
        clock.advance(60)
        counter.count()
        self.observed[window] = np.array(counter.ids(window))
        counter.release(window)

    def differences(self) -> list[str]:
        """What the oracle finds."""
        return differences(self.lives, self.observed, self.records)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A world without any fault."""
    return World(tmp_path)


def test_nothing_is_found_where_nothing_is_wrong(world: World) -> None:
    assert not world.differences()
    assert [life.pending for life in world.lives] == [(900, 10), None]


def test_a_window_that_nobody_observed_is_no_fault(world: World) -> None:
    del world.observed[W2]
    assert not world.differences()


def lose(world: World, window: int, id: int) -> None:
    """An id is neither listed nor counted."""
    world.observed[window] = world.observed[window][world.observed[window] != id]
    recount(world, window)


def recount(world: World, window: int) -> None:
    """Publish as many as are listed."""
    ids = world.observed[window]
    with Counter(max_ids=1_000, clock=ManualClock(window)) as counter:
        counter.add_many(range(len(ids)))
        sealed = counter.seal()
    world.records = [sealed if r.window_start == window else r for r in world.records]


def appear(world: World, window: int, id: int) -> None:
    """An id that nobody sent is listed and counted."""
    world.observed[window] = np.append(world.observed[window], id)
    recount(world, window)


def forget(world: World, window: int) -> None:
    """A window is not published."""
    world.records = [r for r in world.records if r.window_start != window]


def change(world: World, life: int, row: int, column: int, value: int) -> None:
    """An answer says something else."""
    calls = world.lives[life].calls.copy()
    calls[row, column] = value
    before = world.lives[life]
    world.lives[life] = Life(before.stage, calls, before.pending, before.earliest, before.latest)


def repeat(world: World) -> None:
    """A window is published twice."""
    world.records = [world.records[0], *world.records]


def unobserved(world: World) -> None:
    """A window is never listed, and published with another count."""
    world.observed[W2] = world.observed[W2][1:]
    recount(world, W2)
    del world.observed[W2]


FAULTS: dict[str, tuple[str, Callable[[World], object]]] = {
    "an acknowledged id is lost": ("not counted", lambda w: lose(w, W1, 2)),
    "an id of a batch is lost": ("not counted", lambda w: lose(w, W2, 120)),
    "an id of a batch over a boundary is lost": ("not whole", lambda w: lose(w, W3, 503)),
    "an id appears": ("never sent", lambda w: appear(w, W1, 7_777)),
    "an id appears in a window it was not sent to": ("never sent", lambda w: appear(w, W1, W2)),
    "an id of the killed call is too early": ("never sent", lambda w: appear(w, W1, 905)),
    "an id is listed twice": ("listed twice", lambda w: appear(w, W1, 2)),
    "a duplicate was called new": ("said new", lambda w: change(w, 0, 3, 4, 1)),
    "a new one was called duplicate": ("said new", lambda w: change(w, 0, 0, 4, 0)),
    "a batch had fewer new ones": ("said new", lambda w: change(w, 1, 0, 4, 49)),
    "an answer names another window": ("not counted", lambda w: change(w, 0, 2, 3, W2)),
    "windows go back": ("go back", lambda w: change(w, 0, 7, 3, W1)),
    "a window is not published": ("comes", lambda w: forget(w, W2)),
    "the last window is not published": ("no record", lambda w: forget(w, W3 + 60)),
    "a window is published twice": ("comes", repeat),
    "a window is published with another count": (
        "published",
        lambda w: w.observed.update({W2: w.observed[W2][1:]}),
    ),
    "an id is lost from a window that nobody observed": ("said new", unobserved),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found(world: World, name: str) -> None:
    found, plant = FAULTS[name]
    plant(world)
    assert any(found in line for line in world.differences()), world.differences()
