"""The work of a leader without a thread and without real time: a test takes each step."""

from __future__ import annotations

import random
import sqlite3
import threading
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import pytest

from tests.support import rig
from verve import Counter, sinks
from verve.clock import Clock
from verve.ledger import ledger
from verve.publishing.leader import Leader
from verve.publishing.ports import Ports
from verve.sinks import FailureKind, Scope, SinkError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from verve.config import Settings
    from verve.publishing.task import Task
    from verve.windows.window import Window


class ListSink:
    """A sink that keeps windows in a list, unless it fails."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.scope = Scope.HOST if name == sinks.LOG else Scope.CLUSTER
        self.windows: list[Window] = []
        self.fails = False

    def take(self, window: Window) -> None:
        """Keep it."""
        if self.fails:
            raise SinkError("refused", FailureKind.OTHER)
        self.windows.append(window)

    def interrupt(self) -> None:
        """Do nothing: it never waits."""

    def close(self) -> None:
        """Do nothing: the next leader uses the same list."""

    @property
    def counts(self) -> list[tuple[int, int]]:
        """Number of the minute, and its ids."""
        return [((w.window_start - rig.MINUTE) // 60, w.unique) for w in self.windows]


class Host:
    """A host whose clocks, randomness and tasks belong to the test."""

    def __init__(self, settings: Settings, sinks_by_name: dict[str, ListSink]) -> None:
        self.settings = settings
        self.sinks = sinks_by_name
        self.manual = rig.clock_in_minute()
        self.monotonic = 0.0
        self.tasks: list[Task] = []
        self.begin()

    def begin(self) -> None:
        """Attach to the segment, or make it, and begin to lead."""
        self.counter: Counter = rig.counter_of(self.settings, self.manual)
        clock = Clock(
            monotonic=lambda: self.monotonic,
            wall_ns=lambda: int(self.counter.now() * 1e9),
            random=random.Random(0),
            wait_for=rig.no_wait,
        )
        ports = Ports(start=self.tasks.append, open_sink=lambda _settings, name: self.sinks[name])
        self.leader = Leader(self.counter, self.settings, clock=clock, ports=ports)
        self.leader.start()

    def step(self, name: str) -> None:
        """Take one step of a task, at a time when it is due."""
        self.monotonic += 10
        for task in list(self.tasks):
            if task.name == name:
                task.step()

    def minute(self, unique: int) -> None:
        """Let a minute go by with so many ids."""
        self.counter.add_many(range(unique))
        self.manual.advance(60)
        self.step("verve-leader")

    def die(self) -> None:
        """End without another step, as if the process was killed."""
        for task in self.tasks:
            task.stop()
        self.tasks.clear()
        self.counter.lease.release()
        self.counter.close()

    def settle_ledger(self) -> None:
        """Have the ledger store all that the ring holds, and note what the log took."""
        for _ in range(2):
            self.step("verve-ledger")

    def settle(self) -> None:
        """Take all steps until nothing is left to do."""
        for sink in self.sinks.values():
            sink.fails = False
        for _ in range(4):
            for name in ("verve-leader", *TASKS):
                self.step(name)


TASKS = ("verve-sink-log", "verve-ledger", "verve-sink-kafka")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    by_name = {name: ListSink(name) for name in ("log", "kafka")}
    made = Host(rig.settings(tmp_path, sinks="log,kafka", kafka_brokers="127.0.0.1:1"), by_name)
    yield made
    made.die()


def _rows(host: Host) -> list[tuple[int, int]]:
    stored = ledger.rows(ledger.path_of(host.settings))[::-1]
    return [((w.window_start - rig.MINUTE) // 60, w.unique) for w in stored]


def test_each_task_is_a_step_that_needs_no_thread(host: Host) -> None:
    before = set(threading.enumerate())
    host.step("verve-leader")
    assert {task.name for task in host.tasks} == {"verve-leader", *TASKS}
    host.minute(3)
    assert host.sinks["log"].counts == _rows(host) == []
    host.step("verve-sink-log")
    assert host.sinks["log"].counts == [(0, 3)]
    assert _rows(host) == []
    host.step("verve-ledger")
    assert _rows(host) == [(0, 3)]
    assert host.sinks["kafka"].counts == []
    host.step("verve-sink-kafka")
    assert host.sinks["kafka"].counts == [(0, 3)]
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert left <= {"verve-events", "verve-output"}, left


@pytest.mark.parametrize("seed", range(8))
def test_no_minute_is_lost_or_logged_twice(host: Host, seed: int) -> None:
    """Steps in any order, with deaths, reboots, failing sinks and a ledger that is locked."""
    choice = random.Random(seed)
    sent: list[tuple[int, int]] = []
    has_rebooted = False
    host.step("verve-leader")
    host.step("verve-ledger")
    for _ in range(60):
        act = choice.choice(["minute", "minute", "task", "task", "task", "fail", "die", "reboot"])
        if act == "minute":
            sent.append((len(sent), choice.randrange(5)))
            host.minute(sent[-1][1])
        elif act == "task":
            with ExitStack() as locks:
                if choice.random() < 0.2:
                    path = ledger.path_of(host.settings)
                    lock = locks.enter_context(closing(sqlite3.connect(path, timeout=0)))
                    lock.execute("BEGIN IMMEDIATE")
                host.step(choice.choice(TASKS))
        elif act == "fail":
            sink = choice.choice(list(host.sinks.values()))
            sink.fails = not sink.fails
        else:
            has_rebooted |= act == "reboot"
            if has_rebooted:
                # A reboot takes the cursor of the log with the segment. What the log took of an
                # earlier segment is known in the ledger only: there the promise is at least once.
                host.settle_ledger()
            host.die()
            if act == "reboot":
                host.settings.segment.unlink()
            host.begin()
            host.step("verve-leader")
    host.settle()
    assert _rows(host) == sent
    assert sorted(host.sinks["log"].counts) == sent
    assert sorted(set(host.sinks["kafka"].counts)) == sent
    with closing(ledger.open_ledger(host.settings)) as opened:
        assert opened.undelivered("log") == opened.undelivered("kafka") == []
