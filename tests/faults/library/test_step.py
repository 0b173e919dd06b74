"""Processes killed, and processes stopped, at every instruction that changes the segment.

A kill at random meets a window of two instructions once in a million times; here each is met. The
process is stepped through one call; wherever it has changed the segment, the segment is copied as a
kill would leave it, and the copy is used by somebody else.
"""

from __future__ import annotations

import contextlib
import random
import shutil
from typing import TYPE_CHECKING, Self

import pytest

from tests.support.processes.calls import BATCH, BEGUN, CALLS, DONE, GO, ONE, START, make
from tests.support.processes.children import Board, Child
from tests.support.processes.parts import Opening
from tests.support.processes.tracing import Tracer, Watched, copy, differing_pages
from verve import Counter, ManualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from _pytest.mark import ParameterSet

    from tests.support.processes.calls import Call


def start_of(window: int) -> int:
    """Seconds since the epoch at which a window begins."""
    return START + 60 * window


class Stepped:
    """A process about to make a call, held by a tracer."""

    def __init__(self, folder: Path, name: str, pages: frozenset[int]) -> None:
        self.path = folder / "segment"
        self._held = contextlib.ExitStack()
        board_path = folder / "board"
        opening = Opening(self.path, max_ids=CALLS[name].max_ids, wall=START)
        self.child = Child(make, opening, board_path, name)
        self._held.callback(self.child.close)
        self.child.receive()
        self.watched = self._held.enter_context(Watched(self.path, pages))
        self.board = self._held.enter_context(Board(board_path))
        self.tracer = self._held.enter_context(Tracer(self.child.pid))
        self.board[GO] = 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def steps(self) -> Iterator[bool]:
        """Step through the call, from its begin to its end: whether each changed the segment."""
        while not self.board[DONE]:
            self.tracer.step()
            if self.board[BEGUN]:
                yield self.watched.changed()

    def result(self) -> object:
        """Let it go on to the end of the call: what that returned."""
        self.tracer.let_go()
        return self.child.receive()


def changing_pages(folder: Path, name: str) -> frozenset[int]:
    """The pages that a call changes, by making it once in one go.

    The first ones, where the words stand that are changed and changed back, are always among them.
    """
    folder.mkdir()
    with Stepped(folder, name, frozenset()) as stepped:
        copy(stepped.path, folder / "before")
        stepped.result()
        return differing_pages(folder / "before", folder / "segment") | frozenset(range(8))


def survives(path: Path, call: Call) -> None:
    """Use a segment after the kill, and compare all with what was acknowledged before it."""
    clock = ManualClock(START)
    clock.advance(60 * call.now)
    with Counter(path, clock=clock) as counter:
        published = {record.window_start: record for record in counter.closed()}
        window = (counter.hold() - START) // 60
        assert window in {call.now, call.now + 1}
        go_on(counter, clock, call, window)
        records = counter.closed()
        for record in records:
            assert published.get(record.window_start, record) == record
        check_records({r.window_start: r.unique for r in records}, call, window)


def go_on(counter: Counter, clock: ManualClock, call: Call, window: int) -> None:
    """List the window that is current, count in it and in the next 20."""
    must = call.must.get(window, frozenset())
    ids = list(counter.ids())
    assert len(set(ids)) == len(ids) == counter.count()
    assert must <= set(ids) <= must | call.may.get(window, frozenset())
    assert counter.current().requests >= len(ids)
    assert counter.add(5_000)
    assert not counter.add(5_000)
    for id in must:
        assert not counter.add(id)
    for number in range(1, 21):
        later = window + number
        clock.advance(start_of(later) - counter.now())
        wanted = {later, -later, *range(number)}
        assert counter.add_many(wanted) == len(wanted)
        assert counter.hold() == start_of(later)
        assert set(counter.ids()) == wanted, "ids of a window before show up again"
        if number == 1:
            assert sorted(counter.ids(start_of(window))) == sorted({*ids, 5_000})
        counter.release(start_of(later - 1))
        assert counter.closed(1)[0].window_start == start_of(later - 1)
    counter.release(start_of(window + 20))
    counter.maintenance.run()
    assert counter.stats()["arenas"] == {"free": 15, "open": 1, "sealed": 0}, "an arena is lost"


def check_records(unique: dict[int, int], call: Call, window: int) -> None:
    """Every window is there, with what was acknowledged in it, and with what may be."""
    assert list(unique) == [start_of(number) for number in range(window + 20)]
    for number in range(window):
        must = call.must.get(number, frozenset())
        may = call.may.get(number, frozenset())
        assert len(must) <= unique[start_of(number)] <= len(must | may)


def cases(names: Iterable[str]) -> list[ParameterSet]:
    """One test for each call; those of many instructions are left to full runs."""
    long = {
        "add first",
        "add many first",
        "add after a pause",
        "closed",
        "lead",
        "attach and leave",
    }
    return [pytest.param(name, marks=[pytest.mark.full] * (name in long)) for name in names]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", cases(CALLS))
def test_a_process_killed_at_any_instruction(
    segment: Path, scale: Callable[[int], int], name: str
) -> None:
    pages = changing_pages(segment.parent / "dry", name)
    copied = segment.with_name("copy")
    chance = random.Random()
    states = 0
    with Stepped(segment.parent, name, pages) as stepped:
        for changed in stepped.steps():
            # Of all states a tenth in the short run, and the first ones in any case.
            if changed and (states < 5 or chance.random() < scale(100) / 100):
                copy(segment, copied)
                survives(copied, CALLS[name])
                states += 1
        copy(segment, copied)
        survives(copied, CALLS[name])
    assert states > 0, "the call changed nothing"


STOPPABLE = ["add", "add a duplicate", "add many", "add first", "add many first", "seal", "closed"]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", cases(STOPPABLE))
def test_a_process_stopped_at_any_instruction(
    segment: Path, scale: Callable[[int], int], name: str
) -> None:
    """The others turn the window, publish and count meanwhile; then it goes on.

    It is stopped at a change, or at one of the instructions before: what a process has read and not
    yet acted on is what can be out of date.
    """
    pages = changing_pages(segment.parent / "dry", name)
    gaps = [0]
    with Stepped(segment.parent, name, pages) as stepped:
        for changed in stepped.steps():
            gaps[-1] += 1
            if changed:
                gaps.append(0)
    chance = random.Random()
    steps = 0
    while steps < scale(200_000):
        folder = segment.parent / f"after-{steps}"
        folder.mkdir()
        changes = chance.randrange(len(gaps) - 1)
        left = gaps[changes] - chance.choice([0, chance.randrange(60)])
        with Stepped(folder, name, pages) as stepped:
            for changed in stepped.steps():
                steps += 1
                changes -= changed
                left -= changes == 0
                if changes < 0 or (changes == 0 and left <= 0):
                    break
            chance.choice([use_beside, use_long_after])(stepped, CALLS[name], name)
        shutil.rmtree(folder)


def use_beside(stepped: Stepped, call: Call, name: str) -> None:
    """Turn the window while the process stands still, let it go on, and compare all."""
    clock = ManualClock(START)
    clock.advance(60 * call.now)
    with Counter(stepped.path, clock=clock) as counter:
        before = counter.hold()
        clock.advance(before + 60 - counter.now())
        assert counter.add(6_000)
        [record] = counter.closed(1)
        assert record.window_start == before, "the others publish what is due"
        ids = list(counter.ids(before))
        assert record.unique == len(set(ids)) == len(ids)
        after = counter.hold()
        assert after == before + 60
        assert counter.closed(1) == [record]
        result = stepped.result()
        assert counter.closed(1) == [record], "a published window changes no more"
        assert sorted(counter.ids(before)) == sorted(ids)
        now = set(counter.ids(after))
        for window, new in answers_of(name, result):
            there = {before: set(ids), after: now}[window]
            known = call.must.get((window - START) // 60, frozenset())
            assert len((there & sent(name)) - known) == new
        assert now - {6_000} <= sent(name)
        counter.release(before)
        counter.release(after)
        clock.advance(60)
        counter.count()
        counter.maintenance.run()
        assert counter.closed(1)[0].unique == len(now)


def use_long_after(stepped: Stepped, call: Call, name: str) -> None:
    """Use every arena again while the process stands still; nothing of that may be disturbed."""
    clock = ManualClock(START)
    clock.advance(60 * call.now)
    with Counter(stepped.path, clock=clock) as counter:
        first = counter.current().window_start
        for number in range(1, 20):
            clock.advance(first + 60 * number - counter.now())
            assert counter.add_many(range(10_000, 10_000 + number)) == number
        records = counter.closed()
        window = counter.hold()
        assert window == first + 60 * 19
        answers = answers_of(name, stepped.result())
        assert counter.closed() == records
        now = set(counter.ids()) - set(range(10_000, 10_019))
        assert now <= sent(name)
        unique = {record.window_start: record.unique for record in records}
        for start, new in answers:
            # Either it was counted before the stop, or it is now, in the current window.
            assert start <= first or start == window, "counted in a window that was over"
            counted = len(now) if start == window else unique[start]
            assert counted >= new
        assert sum(new for start, new in answers if start == window) == len(now)
        for number in range(1, 19):
            assert unique[first + 60 * number] == number
        clock.advance(60)
        assert counter.add(1)
        assert counter.closed(1)[0].unique == len(now) + 19
        counter.release(window)
        counter.maintenance.run()
        assert counter.stats()["arenas"] == {"free": 15, "open": 1, "sealed": 0}, "an arena is lost"


def sent(name: str) -> frozenset[int]:
    """The ids that a call is about."""
    if name == "add a duplicate":
        return ONE
    return frozenset(BATCH) if "many" in name else frozenset({77})


def answers_of(name: str, result: object) -> list[tuple[int, int]]:
    """Windows and numbers of new ids that a call returned."""
    if not name.startswith("add"):
        return []
    if isinstance(result, tuple):
        return [(result[1], int(result[0]))]
    assert isinstance(result, list)
    return result
