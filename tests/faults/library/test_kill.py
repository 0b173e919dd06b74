"""Writers killed at random moments: acknowledged ⊆ counted ⊆ sent, in every window."""

from __future__ import annotations

import heapq
import itertools
import os
import random
import time
from collections import Counter as Tally
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.support.processes.children import Board, Child
from tests.support.processes.journal import ATTACHING, STAGE
from tests.support.processes.journals import Life, read
from tests.support.processes.observer import Observer
from tests.support.processes.oracle import differences
from tests.support.processes.writers import Role, Task, write
from verve import Counter, ManualClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.alone(reason="its processes get little time beside other work")


WINDOW = 1
MAX_IDS = 20_000_000
AT_ONCE = 6
NOW = 1_800_000_000.0


@dataclass
class Victim:
    """A process with the moment at which it is to die."""

    dies_at: float
    child: Child
    task: Task

    def __lt__(self, other: Victim) -> bool:
        return self.dies_at < other.dies_at


class Killing:
    """Starts writers and kills them, and keeps what they leave behind."""

    def __init__(
        self, segment: Path, folder: Path, seed: int, frozen_at: float | None = None
    ) -> None:
        self.chance = random.Random(seed)
        self.lives: list[Life] = []
        self.stages: Tally[str] = Tally()
        self._segment = segment
        self._folder = folder
        self._frozen_at = frozen_at
        self._numbers = itertools.count(1)

    def start(self) -> Victim:
        """Start one; it dies soon, or just when the window turns."""
        number = next(self._numbers)
        role = self.chance.choice([*Role, Role.WRITER, Role.BATCHES])
        task = Task(
            number,
            role,
            self._segment,
            (self._folder / f"{number}-0", self._folder / f"{number}-1"),
            60 if self._frozen_at else WINDOW,
            self.chance.getrandbits(32),
            MAX_IDS,
            self._frozen_at,
        )
        child = Child(write, task)
        assert child.receive() == "attaching"
        now = time.time()
        match self.chance.random():
            case x if x < 0.2:  # while it attaches
                dies_at = now + self.chance.uniform(0, 0.002)
            case x if x < 0.4:  # while the window turns
                boundary = now - now % WINDOW + WINDOW
                dies_at = boundary + self.chance.uniform(-0.001, 0.004)
            case _:
                dies_at = now + self.chance.uniform(0.01, 0.15)
        return Victim(dies_at, child, task)

    def kill(self, *victims: Victim) -> None:
        """Kill them at once, and read their journals."""
        for victim in victims:
            victim.child.kill()
        for victim in victims:
            assert victim.child.join() == -9, f"{victim.task.role} ended by itself"
            victim.child.close()
            latest = int(self._frozen_at or time.time())
            self.stages[_stage(victim.task)] += 1
            for path in victim.task.journals:
                self.lives.append(read(path, latest))
                path.unlink(missing_ok=True)

    def enough(self, kills: int) -> bool:
        """Whether that many were killed, and one of them at least inside a call."""
        return sum(self.stages.values()) >= kills and any(life.pending for life in self.lives)

    def check_lives(self) -> None:
        """The writers did what they are there for, and no id was refused."""
        assert sum(len(life.calls) for life in self.lives) > 0
        assert not [reason for life in self.lives for reason in life.refusals()]


def _stage(task: Task) -> str:
    with Board(task.journals[0]) as board:
        return "attaching" if board[STAGE] == ATTACHING else str(task.role)


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The seed of this run, which pytest prints."""
    return int(request.config.getoption("randomly_seed", 0))


@pytest.mark.timeout(600)
def test_no_acknowledged_id_and_no_window_is_lost(
    segment: Path, tmp_path: Path, scale: Callable[[int], int], seed: int
) -> None:
    killing = Killing(segment, tmp_path, seed)
    with Observer(segment, WINDOW, MAX_IDS) as observer:
        victims = [killing.start() for _ in range(AT_ONCE)]
        heapq.heapify(victims)
        while not killing.enough(scale(1_000)):
            victim = heapq.heappop(victims)
            time.sleep(max(0.0, victim.dies_at - time.time()))
            killing.kill(victim)
            heapq.heappush(victims, killing.start())
        killing.kill(*victims)
        records = observer.finish()
    killing.check_lives()
    print(dict(killing.stages), len(records), "windows", sum(r.unique for r in records), "ids")  # noqa: T201
    assert not differences(killing.lives, observer.observed, records)
    assert not any(record.gap and record.unique for record in records)


@pytest.mark.timeout(600)
def test_a_window_goes_on_after_all_processes_were_killed_at_once(
    segment: Path, tmp_path: Path, scale: Callable[[int], int], seed: int
) -> None:
    killing = Killing(segment, tmp_path, seed, frozen_at=NOW)
    window = int(NOW) - int(NOW) % 60
    while not killing.enough(scale(100) * AT_ONCE):
        victims = [killing.start() for _ in range(AT_ONCE)]
        time.sleep(killing.chance.uniform(0, 0.05))
        killing.kill(*victims)
        with Counter(segment, window=60, max_ids=MAX_IDS, clock=ManualClock(NOW)) as counter:
            now = np.frombuffer(counter.ids(), np.int64)
            assert counter.count() == len(now)
            current = counter.current()
            assert (current.window_start, current.unique) == (window, len(now))
            assert current.requests >= sum(life.calls[:, 1].sum() for life in killing.lives)
            assert counter.stats()["processes"] == [os.getpid()]
    clock = ManualClock(NOW)
    with Counter(segment, window=60, max_ids=MAX_IDS, clock=clock) as counter:
        assert counter.hold() == window
        clock.advance(60)
        records = counter.closed()
        ids = np.frombuffer(counter.ids(window), np.int64)
        assert np.array_equal(np.sort(ids), np.sort(now))
    killing.check_lives()
    assert [record.window_start for record in records] == [window]
    assert not differences(killing.lives, {window: ids}, records)
