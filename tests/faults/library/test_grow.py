"""Processes killed while the table that they fill grows: what was acknowledged is there, once."""

from __future__ import annotations

import random
import time
from array import array
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.support.processes.children import Board, Child
from tests.support.processes.parts import Opening
from verve import Counter, ManualClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.processes.children import Link

NOW = 1_800_000_000.0
PROCESSES = 3
LENGTH = 5_000
IDS = 1_000_000
"""A table of 64 K slots grows to 2 M to hold them."""


def batch(seed: int, number: int) -> range:
    """The ids of a batch; those of different processes overlap."""
    first = random.Random(f"{seed} {number}").randrange(IDS)
    return range(first, first + LENGTH)


def fill(link: Link, opening: Opening, board_path: Path, place: int, seed: int) -> None:
    """Count batch after batch, and say on the board how many are acknowledged."""
    counter = opening.open()
    with Board(board_path) as board:
        words = board.words
        link.send("open")
        link.recv()
        for number in range(10_000):
            counter.add_many(batch(seed, number))
            words[place] = number + 1


@pytest.mark.timeout(600)
def test_processes_that_fill_a_table_are_killed_while_it_grows(
    segment: Path, scale: Callable[[int], int]
) -> None:
    chance = random.Random()
    sizes: list[int] = []
    # On a slow machine it may take some more until tables of several sizes were met.
    while len(sizes) < scale(200) or len(set(sizes)) < 3:
        path = segment.with_name(f"segment-{len(sizes)}")
        sizes.append(killed_while_it_grows(path, chance))
        for left in segment.parent.iterdir():
            left.unlink()


def killed_while_it_grows(path: Path, chance: random.Random) -> int:
    """Fill a table, kill who fills it, and compare all: the table's slots by then."""
    opening = Opening(path, max_ids=2 * IDS, wall=NOW)
    board_path = path.with_name("board")
    seeds = [chance.getrandbits(32) for _ in range(PROCESSES)]
    with Board(board_path) as board:
        children = [
            Child(fill, opening, board_path, place, seed) for place, seed in enumerate(seeds)
        ]
        for child in children:
            assert child.receive() == "open"
        for child in children:
            child.link.send("go")
        for child in children:
            time.sleep(chance.uniform(0, 0.03))
            child.kill()
        for child in children:
            assert child.join() == -9
            child.close()
        sent = np.zeros(IDS + LENGTH, bool)
        acknowledged = sent.copy()
        for place, seed in enumerate(seeds):
            for number in range(board[place] + 1):
                ids = batch(seed, number)
                sent[ids.start : ids.stop] = True
                acknowledged[ids.start : ids.stop] |= number < board[place]
    clock = ManualClock(NOW)
    with Counter(path, window=60, max_ids=2 * IDS, clock=clock) as counter:
        slots = counter.stats()["window_slots"]
        if chance.random() < 0.5:
            # Some rounds of upkeep: what the dead left half moved is moved.
            for _ in range(50):
                counter.maintenance.run()
        there = check(counter, acknowledged, sent)
        rest = np.flatnonzero(sent & ~there)
        assert counter.add_many(array("q", rest.tolist())) == len(rest)
        assert not counter.add_many(array("q", np.flatnonzero(sent).tolist()))
        assert np.array_equal(check(counter, sent, sent), sent)
        start = counter.hold()
        clock.advance(60)
        assert counter.closed(1)[0].unique == np.count_nonzero(sent)
        assert np.array_equal(np.sort(counter.ids(start)), np.flatnonzero(sent))
    return slots


def check(counter: Counter, must: np.ndarray, may: np.ndarray) -> np.ndarray:
    """The ids that are there: each once, all that `must` be, none but those that `may`."""
    ids = np.frombuffer(counter.ids(), np.int64)
    there = np.zeros_like(must)
    there[ids] = True
    assert counter.count() == len(ids) == np.count_nonzero(there)
    assert not np.any(must & ~there), "an acknowledged id is gone"
    assert not np.any(there & ~may), "an id that nobody sent"
    return there
