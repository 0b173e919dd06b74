"""Processes that write until they are killed, each in the way of its role.

All ids are noted in journals, a thread each, before they are counted and after. Half of the ids are
nobody else's; the other half are few, so that many writers send them at once.
"""

from __future__ import annotations

import os
import random
import threading
import time
from array import array
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

from tests.support.processes.journal import ATTACHED, ATTACHING, Journal
from verve import CapacityError, Counter, ManualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.support.processes.children import Link
    from tests.support.processes.parts import Opening

CALLS = 3_000
"""Calls that a thread makes at the most; a process that lives on then only looks around."""
THREADS = 3
AROUND = 0.005
"""Threads of a process that counts around boundaries, and seconds before and after each."""
SHARED = 5_000
"""Ids that all writers send lie between this number and its negative."""


class Role(StrEnum):
    """What a process does besides counting."""

    WRITER = "writer"
    BATCHES = "batches"
    LEADER = "leader"
    ATTACHER = "attacher"
    HOLDER = "holder"


@dataclass(frozen=True)
class Task:
    """What a process is to do. `number` tells it from all others; its journals are by thread."""

    number: int
    role: Role
    segment: Path
    journals: tuple[Path, Path]
    window: int
    seed: int
    max_ids: int
    frozen_at: float | None = None

    def open(self) -> Counter:
        """Attach; with a clock that stands still if the task has one."""
        clock = None if self.frozen_at is None else ManualClock(self.frozen_at)
        return Counter(self.segment, window=self.window, max_ids=self.max_ids, clock=clock)


def write(link: Link, task: Task) -> None:
    """Say so, attach, and write until killed."""
    os.nice(10)  # whoever kills must not have to wait for the ones to be killed
    journals = [Journal(path, CALLS) for path in task.journals]
    begun_at = int(time.time() if task.frozen_at is None else task.frozen_at)
    for journal in journals:
        journal.stage(ATTACHING, begun_at - begun_at % task.window)
    link.send("attaching")
    if task.role is Role.ATTACHER:
        attach_over_and_over(task, journals[0])
        return
    counter = task.open()
    for journal in journals:
        journal.stage(ATTACHED, begun_at - begun_at % task.window)
    rest = {
        Role.WRITER: lambda: None,
        Role.BATCHES: lambda: None,
        Role.LEADER: lambda: tend(counter),
        Role.HOLDER: lambda: hold(counter),
    }[task.role]
    works: list[Callable[[], None]] = []
    for thread, journal in enumerate(journals):
        chance = random.Random(task.seed + thread)
        fresh = (2 * task.number + thread) * 10_000_000 - (1 << 62)
        if task.role is Role.BATCHES or (task.role is Role.WRITER and thread == 1):
            works.append(partial(batches, counter, journal, chance, fresh))
        else:
            works.append(partial(singles, counter, journal, chance, fresh))
    works.append(rest)
    for work in works[1:]:
        threading.Thread(target=_for_ever, args=(counter, work), daemon=True).start()
    _for_ever(counter, works[0])


def _for_ever(counter: Counter, work: Callable[[], None]) -> None:
    work()
    while True:
        counter.count()
        counter.closed(3)
        time.sleep(0.001)


def singles(counter: Counter, journal: Journal, chance: random.Random, fresh: int) -> None:
    """Send ids one by one."""
    for number in range(CALLS):
        id = fresh + number if chance.random() < 0.5 else chance.randint(-SHARED, SHARED)
        journal.sent(id)
        try:
            new, window = counter.add_in_window(id)
        except CapacityError as error:
            journal.refused(error.reason)
        else:
            journal.answered_one(new, window)


def batches(counter: Counter, journal: Journal, chance: random.Random, fresh: int) -> None:
    """Send ids in batches of some thousand at the most."""
    total = 0
    while total < 12_000 and not journal.full():
        length = chance.randint(1, 3_000)
        first = fresh + total if chance.random() < 0.5 else chance.randint(-SHARED, SHARED - length)
        total += length
        ids = array("q", range(first, first + length))
        journal.sent(first, length)
        try:
            answer = counter.add_many_by_window(ids)
        except CapacityError as error:
            journal.refused(error.reason)
        else:
            journal.answered(answer)


def attach_over_and_over(task: Task, journal: Journal) -> None:
    """Attach, count one id, leave, and again."""
    chance = random.Random(task.seed)
    while True:
        with task.open() as counter:
            if journal.full():
                continue
            id = chance.randint(-SHARED, SHARED)
            journal.sent(id)
            new, window = counter.add_in_window(id)
            journal.answered_one(new, window)


def tend(counter: Counter) -> None:
    """Do what a leader does, without its pauses."""
    while True:
        if counter.lease.acquire() is not None:
            counter.maintenance.run()
        counter.maintenance.populate()
        counter.closed(3)


def hold(counter: Counter) -> None:
    """Hold windows, list their ids, release them."""
    while True:
        window = counter.hold()
        counter.ids(window)
        counter.release(window)


def count_around(link: Link, opening: Opening, number: int, boundaries: int) -> None:
    """Count in some threads as fast as they can while the window turns.

    Sends the answers of each thread as the rows of its journal.
    """
    counter = opening.open()

    def count(thread: int) -> None:
        rows = array("q")
        length = 1 if thread else 200
        fresh = (number * THREADS + thread) * 10**9 - (1 << 62)
        for _ in range(boundaries):
            time.sleep(max(0.0, counter.until_boundary() - AROUND))
            end = time.monotonic() + 2 * AROUND
            while time.monotonic() < end:
                # Every other call is about ids that the others send, too.
                shared = len(rows) // 9 % 2
                first = fresh % 5_000 if shared else fresh
                fresh += length
                if thread:
                    new, window = counter.add_in_window(first)
                    answer: Sequence[tuple[int, int]] = [(window, int(new))]
                else:
                    ids = array("q", range(first, first + length))
                    answer = counter.add_many_by_window(ids)
                flat = [value for pair in answer for value in pair]
                rows.extend([first, length, len(answer), *flat, *[0] * (6 - len(flat))])
        answers[thread] = rows

    answers: dict[int, array[int]] = {}
    threads = [threading.Thread(target=count, args=(thread,)) for thread in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    link.send(list(answers.values()))
