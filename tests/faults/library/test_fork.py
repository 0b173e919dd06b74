"""Forks of a process that has a counter open: the child is a process of its own to the segment.

What forks here is a bare process without other threads; one test gives it some.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from array import array
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.support.processes.parts import Opening, fork_child
from verve import Counter, ManualClock, SegmentError, SettingError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.conftest import Start
    from tests.support.processes.children import Link

NOW = 1_800_000_000.0
FIRST = 1_800_000_000
MANY = range(50_000)


def reap(*pids: int) -> None:
    """Wait for forked children, all of which must have ended well."""
    for pid in pids:
        assert os.waitpid(pid, 0)[1] == 0


def in_memory(link: Link) -> None:
    """Count in memory, together with ten children."""
    with Counter(max_ids=10_000, clock=ManualClock(NOW)) as counter:
        counter.add(-1)

        def work() -> None:
            first = os.getpid() * 1_000
            assert counter.add_many(array("q", range(first, first + 100))) == 100
            assert not counter.add(-1)
            assert counter.stats()["processes"].count(os.getpid()) == 1

        pids = [fork_child(work) for _ in range(10)]
        reap(*pids)
        wanted = {-1}.union(*(range(pid * 1_000, pid * 1_000 + 100) for pid in pids))
        assert set(counter.ids()) == wanted
        assert counter.stats()["processes"] == [os.getpid()]
        link.send(counter.count())


def test_a_counter_in_memory_is_shared_with_forked_children(start: Start) -> None:
    assert start(in_memory).receive() == 1_001


def with_a_child(link: Link, opening: Opening, uses: bool, many: int) -> None:
    """Open, hold, fork a child that uses the counter or does not, and wait to be killed."""
    counters = [opening.open() for _ in range(many)]
    windows = {counter.hold() for counter in counters}
    counters[0].add(1)

    def work() -> None:
        if uses:
            assert not counters[0].add(1)
            assert counters[0].add(2)
        link.send((os.getpid(), windows.pop()))
        time.sleep(60)

    fork_child(work)
    time.sleep(60)


@pytest.mark.parametrize("uses", [True, False], ids=["used", "unused"])
@pytest.mark.parametrize("many", [1, 100])
def test_a_killed_parent_is_dead_though_its_child_lives(
    segment: Path, start: Start, uses: bool, many: int
) -> None:
    """Neither the child's copies of the descriptors nor its mapping keep the parent's slots."""
    opening = Opening(segment, max_ids=1_000, wall=NOW)
    clock = opening.clock()
    assert clock is not None
    with opening.open(clock) as counter:
        parent = start(with_a_child, opening, uses, many)
        child, window = parent.receive()
        try:
            living = [os.getpid(), *[parent.pid] * many, *[child] * uses]
            assert sorted(counter.stats()["processes"]) == sorted(living)
            parent.kill()
            parent.join()
            living = [os.getpid(), *[child] * uses]
            assert sorted(counter.stats()["processes"]) == sorted(living)
            clock.advance(60)
            assert counter.add(1)
            counter.maintenance.run()
            assert counter.stats()["arenas"]["sealed"] == 0, "what the dead held is let go"
            with pytest.raises(SettingError, match="not kept"):
                counter.ids(window)
        finally:
            os.kill(child, signal.SIGKILL)


def with_a_holding_child(link: Link, opening: Opening) -> None:
    """What the parent held is not the child's to release, and the other way round."""
    with opening.open() as counter:
        window = counter.hold()
        counter.add(1)

        def work() -> None:
            try:
                counter.release(window)
            except SettingError:
                link.send("not held by the child")
            assert counter.hold() == window
            link.send("held")
            link.recv()
            counter.close()
            link.send("closed")
            time.sleep(60)

        pid = fork_child(work)
        link.send(pid)
        time.sleep(60)


def test_a_child_holds_windows_of_its_own(segment: Path, start: Start) -> None:
    opening = Opening(segment, wall=NOW)
    clock = opening.clock()
    assert clock is not None
    with opening.open(clock) as counter:
        parent = start(with_a_holding_child, opening)
        said = [parent.receive() for _ in range(3)]
        [child] = [one for one in said if isinstance(one, int)]
        assert [one for one in said if one != child] == ["not held by the child", "held"]
        try:
            clock.advance(60)
            counter.add(1)
            counter.maintenance.run()
            assert list(counter.ids(FIRST)) == [1]
            parent.kill()
            parent.join()
            counter.maintenance.run()
            assert list(counter.ids(FIRST)) == [1], "the child holds it, too"
            parent.link.send("close")
            assert parent.receive() == "closed"
            counter.maintenance.run()
            assert counter.stats()["arenas"]["sealed"] == 0
        finally:
            os.kill(child, signal.SIGKILL)


def nested(link: Link, opening: Opening, depth: int) -> None:
    """Fork in a child in a child...: each counts one id, the innermost first."""
    counter = opening.open()

    def descend(level: int) -> None:
        if level < depth:
            reap(fork_child(lambda: descend(level + 1)))
        assert counter.add(level)
        assert counter.stats()["processes"].count(os.getpid()) == 1

    descend(0)
    link.send((sorted(counter.ids()), counter.stats()["processes"] == [os.getpid()]))


def test_forks_within_forks(segment: Path, start: Start) -> None:
    child = start(nested, Opening(segment, wall=NOW), 15)
    assert child.receive() == (list(range(16)), True)


def too_nested(link: Link, opening: Opening) -> None:
    """Fork deeper than a counter follows."""
    counter = opening.open()

    def descend(level: int) -> None:
        if level < 16:
            reap(fork_child(lambda: descend(level + 1)))
            return
        try:
            counter.add(1)
        except SegmentError as error:
            link.send((error.reason, str(error)))
        counter.close()
        with opening.open() as fresh:
            link.send(fresh.add(1))

    descend(0)
    assert not counter.add(1)
    link.send("outermost")


def test_forks_that_are_too_deep_are_told(segment: Path, start: Start) -> None:
    child = start(too_nested, Opening(segment, wall=NOW))
    reason, message = child.receive()
    assert reason == "no-slot"
    assert "nested forks" in message
    assert child.receive() is True
    assert child.receive() == "outermost"


class Crowd:
    """Threads that count, and one that attaches and leaves, until told to stop."""

    def __init__(self, opening: Opening) -> None:
        self.opening = opening
        self.counter = opening.open()
        self.over = threading.Event()
        self.counted = 0
        self.failures: list[BaseException] = []
        works = (self._count, self._count_many, self._attach)
        self.threads = [threading.Thread(target=self._run, args=(work,)) for work in works]
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        """Wait for their end."""
        self.over.set()
        for thread in self.threads:
            thread.join()

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as failure:  # noqa: BLE001 - looked at by the test
            self.failures.append(failure)

    def _count(self) -> None:
        while not self.over.is_set():
            assert self.counter.add(10_000_000 + self.counted)
            self.counted += 1
            time.sleep(0.0002)

    def _count_many(self) -> None:
        # Without the GIL, so that others fork meanwhile.
        ids = array("q", MANY)
        assert self.counter.add_many(ids) == len(MANY)
        while not self.over.is_set():
            assert self.counter.add_many(ids) == 0

    def _attach(self) -> None:
        while not self.over.is_set():
            with self.opening.open() as other:
                other.count()


def among_threads(link: Link, opening: Opening, rounds: int) -> None:
    """Fork over and over while a crowd is busy; send what is counted too much, and failures."""
    crowd = Crowd(opening)

    def work(number: int) -> None:
        # Half of the children live on, as workers do, and use nothing of what they inherited.
        if number % 2:
            time.sleep(60)
        assert crowd.counter.add(-1 - number)

    pids = []
    for number in range(rounds):
        pids.append(fork_child(partial(work, number)))
        time.sleep(0.001)
    crowd.stop()
    reap(*pids[::2])
    try:
        with opening.open() as other:
            wanted = crowd.counted + len(MANY) + len(pids[::2])
            link.send((other.count() - wanted, crowd.failures))
    except SegmentError as error:
        link.send((0, [error]))
    finally:
        for pid in pids[1::2]:
            os.kill(pid, signal.SIGKILL)


@pytest.mark.timeout(300)
def test_forks_while_threads_count_and_attach(
    segment: Path, start: Start, scale: Callable[[int], int]
) -> None:
    opening = Opening(segment, max_ids=2_000_000, wall=NOW)
    child = start(among_threads, opening, scale(1_000))
    assert child.receive(240) == (0, [])


def with_a_closing_child(link: Link, opening: Opening) -> None:
    """A child that closes what it inherited leaves the parent's seat alone."""
    with opening.open() as counter:
        counter.add(1)
        term = counter.lease.acquire()
        reap(fork_child(counter.close))

        def use_and_close() -> None:
            assert counter.lease.acquire() is None, "the parent leads"
            assert counter.add(2)
            counter.close()

        reap(fork_child(use_and_close))
        assert counter.lease.acquire() == term
        link.send((sorted(counter.ids()), counter.stats()["processes"] == [os.getpid()]))


def test_a_child_that_closes_leaves_its_parent_alone(segment: Path, start: Start) -> None:
    child = start(with_a_closing_child, Opening(segment, wall=NOW))
    assert child.receive() == ([1, 2], True)
