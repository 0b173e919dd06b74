"""Calls that are cut off in the middle, each with what must hold whatever became of it.

Windows are numbered from 0 by minutes since `START`. All calls find ids in window 0, which is
closed and published, and in window 1; some find their clock in a later one.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.support.processes.children import Board

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.support.processes.children import Link
    from tests.support.processes.parts import Opening
    from verve import Counter, ManualClock

START = 1_800_000_000
GO, BEGUN, DONE = range(3)
ZERO = frozenset(range(100, 110))
ONE = frozenset(range(-5, 0))
BATCH = range(1_000, 1_040)
MANY = range(200_000)
FILLED = range(1_000_000, 1_060_000)
SURELY_FILLED = FILLED[:38_000]
"""Ids that a table is filled with until it grows: these in any case, and never all."""
FEW = range(-10, 0)


@dataclass(frozen=True)
class Call:
    """A call on a counter whose clock stands in window `now`.

    `must` has the ids that are acknowledged, by window; `may` those that the call is about, in each
    window in which they may be found. `answer` checks what the call returned, if it did.
    """

    make: Callable[[Counter, Path], object]
    now: int = 1
    may: Mapping[int, frozenset[int]] = field(default_factory=dict)
    prepare: Callable[[Counter], object] = lambda _counter: None
    filled: frozenset[int] = frozenset()
    max_ids: int = 100

    @property
    def must(self) -> dict[int, frozenset[int]]:
        """What was acknowledged before the call."""
        return {0: ZERO, 1: ONE | self.filled}


def _attach(_counter: Counter, path: Path) -> None:
    from verve import Counter, ManualClock  # noqa: PLC0415 - the name is that of a parameter's type

    with Counter(path, clock=ManualClock(START + 60)) as other:
        other.add(77)


def _hold_and_release(counter: Counter, _path: Path) -> None:
    counter.release(counter.hold())


def _hold_and_seal(counter: Counter) -> None:
    counter.hold()
    counter.seal()


def _release_and_tend(counter: Counter, _path: Path) -> None:
    counter.release(START + 60)
    counter.maintenance.run()


def _lead(counter: Counter, _path: Path) -> None:
    assert counter.lease.acquire() is not None
    counter.maintenance.run()
    counter.lease.release()


def _fill(counter: Counter) -> None:
    """Count ids until the table grows: from the next one on, each call moves some of them."""
    counter.add_many(array("q", SURELY_FILLED))
    slots = counter.stats()["window_slots"]
    for id in FILLED[len(SURELY_FILLED) :]:
        counter.add(id)
        if counter.stats()["window_slots"] != slots:
            return
    raise AssertionError("the table does not grow")


NEW = frozenset({77})
CALLS = {
    "add": Call(lambda c, _: c.add_in_window(77), may={1: NEW}),
    "add a duplicate": Call(lambda c, _: c.add_in_window(-1)),
    "add many": Call(lambda c, _: c.add_many_by_window(BATCH), may={1: frozenset(BATCH)}),
    "add first": Call(lambda c, _: c.add_in_window(77), now=2, may={2: NEW}),
    "add many first": Call(
        lambda c, _: c.add_many_by_window(BATCH), now=2, may={2: frozenset(BATCH)}
    ),
    "add after a pause": Call(lambda c, _: c.add_in_window(77), now=4, may={4: NEW}),
    "add while it grows": Call(
        lambda c, _: c.add_in_window(77),
        may={1: NEW | frozenset(FILLED)},
        prepare=_fill,
        filled=frozenset(SURELY_FILLED),
        max_ids=len(FILLED) * 3,
    ),
    "seal": Call(lambda c, _: c.seal().unique),
    "closed": Call(lambda c, _: len(c.closed()), now=2),
    "tend": Call(lambda c, _: c.maintenance.run(), now=2),
    "hold and release": Call(_hold_and_release),
    "release a closed one": Call(_release_and_tend, prepare=_hold_and_seal),
    "lead": Call(_lead, now=2),
    "attach and leave": Call(_attach, may={1: NEW}),
    "close": Call(lambda c, _: c.close(), prepare=lambda c: (c.hold(), c.lease.acquire())),
}


def prepare(counter: Counter, clock: ManualClock, call: Call) -> None:
    """Bring a new segment to where the call begins."""
    counter.add_many(ZERO)
    clock.advance(60)
    counter.add_many(ONE)
    call.prepare(counter)
    clock.advance(60 * (call.now - 1))


def make(link: Link, opening: Opening, board_path: Path, name: str) -> None:
    """Prepare a call, make it when the board says so, and send what it returned."""
    clock = opening.clock()
    assert clock is not None
    counter = opening.open(clock)
    call = CALLS[name]
    prepare(counter, clock, call)
    at_the_signal(link, board_path, lambda: call.make(counter, opening.segment))


def at_the_signal(link: Link, board_path: Path, work: Callable[[], object]) -> None:
    """Do `work` when the board says so, and send what it returned."""
    with Board(board_path) as board:
        words = board.words
        link.send("prepared")
        while not words[GO]:
            pass
        words[BEGUN] = 1
        result = work()
        words[DONE] = 1
        link.send(result)
        link.recv()


def open_it(link: Link, opening: Opening, board_path: Path) -> None:
    """Make the segment and attach it."""
    at_the_signal(link, board_path, lambda: opening.open().add(1))


def free_it(link: Link, opening: Opening, board_path: Path) -> None:
    """Have a large window behind, and some small ones; publish and free them."""
    clock = opening.clock()
    assert clock is not None
    counter = opening.open(clock)
    counter.hold()
    counter.add_many(array("q", MANY))
    for _ in range(6):
        clock.advance(60)
        counter.add_many(FEW)
    counter.release(START)
    at_the_signal(link, board_path, counter.maintenance.run)


def grow_it(link: Link, opening: Opening, board_path: Path) -> None:
    """Count so many ids that the table grows."""
    ids = array("q", MANY)
    counter = opening.open()
    at_the_signal(link, board_path, lambda: counter.add_many(ids))
