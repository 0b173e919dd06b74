"""Processes killed at every system call of what is done by them: making, growing, freeing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.support.processes.calls import DONE, FEW, GO, MANY, free_it, grow_it, open_it
from tests.support.processes.children import Board, Child
from tests.support.processes.parts import Opening
from tests.support.processes.tracing import Tracer, copy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from verve import Counter, ManualClock

pytestmark = pytest.mark.alone(reason="counts system calls")

NOW = 1_800_000_000.0


def at_each_call(folder: Path, target: Callable[..., None], opening: Opening) -> int:
    """Copy all files of the segment, at each system call, to a numbered folder; their number."""
    board_path = folder / "board"
    number = 0
    before: list[Path] = []
    with Child(target, opening, board_path) as child:
        child.receive()
        with Board(board_path) as board, Tracer(child.pid) as tracer:
            board[GO] = 1
            while tracer.next_system_call() and not board[DONE]:
                paths = sorted(opening.segment.parent.glob("segment*"))
                if len(paths) <= 1 and paths == before:
                    continue  # the lock alone: it looks for others on the host, and changes nothing
                before = paths
                place = folder / str(number)
                place.mkdir(mode=0o700)
                for path in paths:
                    copy(path, place / path.name)
                number += 1
    return number


def use(path: Path, clock: ManualClock, opening: Opening) -> Counter:
    """Attach the copy that a kill left."""
    copied = Opening(path / "segment", opening.window, opening.max_ids, opening.wall)
    counter = copied.open(clock)
    assert not path.joinpath("segment.new").exists()
    return counter


def test_a_maker_killed_at_any_system_call(segment: Path) -> None:
    opening = Opening(segment, max_ids=100, wall=NOW)
    folder = segment.parent / "states"
    folder.mkdir()
    calls = at_each_call(folder, open_it, opening)
    assert calls > 20
    lives = []
    for number in range(calls):
        clock = opening.clock()
        assert clock is not None
        with use(folder / str(number), clock, opening) as counter:
            lives.append(not counter.add(1))
            assert counter.add(2)
            assert sorted(counter.ids()) == [1, 2]
            clock.advance(60)
            assert counter.add(1)
            assert [record.unique for record in counter.closed()] == [2]
    assert lives == sorted(lives), "once counted, the id stays"


@pytest.mark.parametrize("target", [free_it, grow_it])
def test_one_who_frees_or_grows_killed_at_any_system_call(
    segment: Path, target: Callable[..., None]
) -> None:
    """No id of the large window shows up in the arena's next ones."""
    opening = Opening(segment, max_ids=len(MANY) * 3 // 2, wall=NOW)
    folder = segment.parent / "states"
    folder.mkdir()
    calls = at_each_call(folder, target, opening)
    assert calls > 1
    fresh = np.arange(10**6, 10**6 + len(MANY))
    for number in range(calls):
        clock = opening.clock()
        assert clock is not None
        if target is free_it:
            clock.advance(360)
        with use(folder / str(number), clock, opening) as counter:
            before = counter.current()
            assert before.unique == len(counter.ids())
            for window in range(20):
                clock.advance(60)
                ids = fresh if window < 16 else np.array(FEW)
                assert counter.add_many(ids) == len(ids)
                assert np.array_equal(np.sort(np.frombuffer(counter.ids(), np.int64)), ids)
            unique = [record.unique for record in counter.closed()][-20:]
            assert unique == [before.unique, *[len(fresh)] * 16, *[len(FEW)] * 3]
            counter.maintenance.run()
            assert counter.stats()["arenas"] == {"free": 15, "open": 1, "sealed": 0}
