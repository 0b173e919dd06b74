"""Processes that play a part in a test: one that does what it is told, and one that leads."""

from __future__ import annotations

import os
import time
import traceback
from array import array
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.support.processes.children import Board, Child, wait_until
from verve import Counter, ManualClock, VerveError, WindowRecord

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.processes.children import Link

CALLS, RETURNS = range(2)
TERM, ROUNDS = range(2)


@dataclass(frozen=True)
class Opening:
    """How a process opens the segment; with `wall` by a clock that stands still until told."""

    segment: Path
    window: int = 60
    max_ids: int = 100_000
    wall: float | None = None

    def clock(self) -> ManualClock | None:
        """A clock of its own for each process."""
        return None if self.wall is None else ManualClock(self.wall)

    def open(self, clock: ManualClock | None = None) -> Counter:
        """Attach."""
        clock = clock or self.clock()
        return Counter(self.segment, window=self.window, max_ids=self.max_ids, clock=clock)


class Known(NamedTuple):
    """What a window's record says, as it goes from process to process."""

    window_start: int
    unique: int
    requests: int
    gap: bool


class Remote:
    """A counter in another process. The board says whether that process is inside a call."""

    def __init__(self, opening: Opening, board: Path) -> None:
        self.child = Child(obey, opening, board)
        self.child.receive()
        self.board = Board(board)
        self.pid = self.child.pid

    def call(self, name: str, *arguments: object) -> Any:  # noqa: ANN401 - what the method returns
        """Call a method there and wait for what it returns; an error is raised here."""
        self.begin(name, *arguments)
        return self.result()

    def begin(self, name: str, *arguments: object) -> None:
        """Call a method there, and return once the process is about to enter it."""
        calls = self.board[CALLS]
        self.child.link.send((name, arguments))
        end = time.monotonic() + 30
        while self.board[CALLS] == calls:  # no sleep: whoever stops it wants it at its very start
            assert time.monotonic() < end, f"process {self.pid} does not call `{name}`"

    def inside(self) -> bool:
        """Whether it is inside a call."""
        return self.board[CALLS] > self.board[RETURNS]

    def result(self) -> Any:  # noqa: ANN401 - as above
        """What the call returned that was begun."""
        result = self.child.receive()
        if isinstance(result, BaseException):
            raise result
        return result

    def close(self) -> None:
        """End the process."""
        self.board.close()
        self.child.close()


def obey(link: Link, opening: Opening, board_path: Path) -> None:
    """Open a counter, and call its methods as told; `clock_advance` moves the clock."""
    clock = opening.clock()
    with opening.open(clock) as counter, Board(board_path) as board:
        link.send("attached")
        while True:
            try:
                name, arguments = link.recv()
            except EOFError:
                return
            if arguments and isinstance(arguments[0], range):
                arguments = (array("q", arguments[0]),)
            subject: object = counter
            if name.startswith("clock_"):
                subject, name = clock, name.removeprefix("clock_")
            board[CALLS] += 1
            try:
                result = attrgetter(name)(subject)(*arguments)
            except VerveError as error:
                result = error
            board[RETURNS] += 1
            link.send(_portable(result))


def _portable(result: object) -> object:
    if isinstance(result, WindowRecord):
        return Known(result.window_start, result.unique, result.requests, result.gap)
    if isinstance(result, list):
        return [_portable(one) for one in result]
    return result


def lead_on(link: Link, opening: Opening, board_path: Path, pause: float) -> None:
    """Lead whenever the lease is to be had: tend every `pause` seconds, without end."""
    with opening.open() as counter, Board(board_path) as board:
        link.send("attached")
        while True:
            term = counter.lease.acquire()
            board[TERM] = term or 0
            if term is not None:
                counter.maintenance.run()
            board[ROUNDS] += 1
            time.sleep(pause)


def add_on(link: Link, opening: Opening, board_path: Path, first: int) -> None:
    """Count one new id after the other without end; the board has how many."""
    with opening.open() as counter, Board(board_path) as board:
        link.send("attached")
        while True:
            counter.add(first + board[0])
            board[0] += 1
            time.sleep(0.002)


def fork_child(work: Callable[[], object]) -> int:
    """Fork: the child does `work` and ends, whatever happens; its process id."""
    if pid := os.fork():
        return pid
    code = 1
    try:
        work()
        code = 0
    except BaseException:  # noqa: BLE001 - shown; nothing of the parent's code may run on here
        traceback.print_exc()
    finally:
        os._exit(code)


def wait_published(counter: Counter, window: int, within: float) -> float:
    """Wait until `window` is published, and give the seconds from its end to that moment."""
    end = window + counter.window
    wait_until(
        lambda: counter.ring.newest() >= window,
        max(0.0, end - counter.now()) + within + 30,
        f"published: {window}",
    )
    return counter.now() - end
