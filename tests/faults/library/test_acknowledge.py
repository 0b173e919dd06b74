"""Processes that send ids to a store and acknowledge them, killed at random moments or forked.

The store is a file of 8-byte members for each process, written before they are acknowledged.
"""

from __future__ import annotations

import os
import random
import struct
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.support.processes.children import Child
from tests.support.processes.parts import Opening, fork_child

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.conftest import Start
    from tests.support.processes.children import Link
    from verve import Counter

NOW = 1_800_000_000.0
FIRST = 1_800_000_000
IDS = 1_000_000
MAX_IDS = 2_000_000
AT_ONCE = 4


def send(counter: Counter, store: int, most: int) -> int:
    """Take what waits, write it down, acknowledge it."""
    sent = 0
    for window, _, members in counter.replication.take(most):
        os.write(store, b"".join(members))
        assert counter.replication.acknowledge(window, len(members))
        sent += len(members)
    return sent


def deliver(link: Link, opening: Opening, place: Path, seed: int, rounds: int) -> None:
    """Count ids that others count as well, and send those that are new; at the end all of them."""
    chance = random.Random(seed)
    store = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    link.send("attaching")
    counter = opening.open()
    counter.replication.queue(1_000)
    for _ in range(rounds):
        counter.add_many([chance.randrange(IDS) for _ in range(20)])
        counter.http.accept(f"id={chance.randrange(IDS)}")
        send(counter, store, chance.randrange(1, 60))
        acknowledged = counter.replication.acknowledged(FIRST)
        assert acknowledged is not None
        assert acknowledged <= counter.count()
    while send(counter, store, 1_000):
        pass
    link.send(counter.replication.left_out())
    link.recv()


def stored(places: list[Path]) -> list[int]:
    """All members of all stores."""
    return [id for place in places for id in np.fromfile(place, "<i8").tolist()]


@pytest.mark.timeout(600)
def test_sums_of_killed_processes_are_never_too_high(
    segment: Path, tmp_path: Path, scale: Callable[[int], int], request: pytest.FixtureRequest
) -> None:
    chance = random.Random(int(request.config.getoption("randomly_seed", 0)))
    opening = Opening(segment, max_ids=MAX_IDS, wall=NOW)
    places: list[Path] = []

    def start(rounds: int) -> Child:
        places.append(tmp_path / str(len(places)))
        child = Child(deliver, opening, places[-1], chance.getrandbits(32), rounds)
        assert child.receive() == "attaching"
        return child

    clock = opening.clock()
    assert clock is not None
    with opening.open(clock) as counter:
        counter.retention.enable()
        children = [start(100) for _ in range(AT_ONCE)]
        assert [child.receive() for child in children] == [0] * AT_ONCE
        for child in children:
            child.kill()
            child.close()
        # Nobody died with ids in hand: each id was acknowledged, and the sum says so.
        assert counter.replication.acknowledged(FIRST) == counter.count() == len(stored(places))

        victims = [start(1 << 40) for _ in range(AT_ONCE)]
        for _ in range(scale(400)):
            time.sleep(chance.uniform(0, 0.02))
            victim = victims.pop(0)
            victim.kill()
            assert victim.join() == -9
            victim.close()
            acknowledged = counter.replication.acknowledged(FIRST)
            assert acknowledged is not None
            assert acknowledged <= counter.count()
            victims.append(start(1 << 40))
        for victim in victims:
            victim.kill()
            assert victim.join() == -9
            victim.close()

        clock.advance(60)
        counter.maintenance.run()
        [record] = counter.closed()
        counted = set(counter.ids(FIRST))
        members = stored(places)
        assert len(members) == len(set(members)), "an id was given out twice"
        assert set(members) <= counted
        acknowledged = counter.replication.acknowledged(FIRST)
        assert acknowledged is not None
        assert acknowledged <= len(members) <= record.unique == len(counted)
        print(acknowledged, len(members), record.unique)  # noqa: T201
        counter.retention.settle(FIRST)
        counter.maintenance.run()
        assert counter.replication.acknowledged(FIRST) is None


def forking(link: Link, opening: Opening) -> None:
    """Fork with ids in hand: the child has none of them, and a queue of its own if it wants."""
    counter = opening.open()
    counter.replication.queue(100)
    counter.add_many([1, 2, 3])

    def work() -> None:
        assert counter.replication.take(100) == []
        counter.add(4)
        assert counter.replication.queued() == 0, "a child says for itself that it sends"
        counter.replication.queue(100)
        counter.add_many([1, 5])
        taken = counter.replication.take(100)
        assert [struct.unpack("<q", member) for *_, [member] in taken] == [(5,)]
        assert counter.replication.acknowledge(FIRST, 1)
        counter.close()

    pid = fork_child(work)
    assert os.waitpid(pid, 0)[1] == 0
    taken = sum(len(members) for *_, members in counter.replication.take(100))
    assert counter.replication.acknowledge(FIRST, taken)
    link.send((taken, counter.replication.acknowledged(FIRST), counter.count()))


def test_a_forked_child_has_none_of_its_parents_ids(segment: Path, start: Start) -> None:
    child = start(forking, Opening(segment, wall=NOW))
    assert child.receive() == (3, 4, 5)
