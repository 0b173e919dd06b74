"""Many threads in many processes at once, over many windows: every count is exact."""

from __future__ import annotations

import threading
import time
from array import array
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.faults.observer import Observer
from tests.faults.parts import Opening

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.children import Link
    from tests.faults.conftest import Start

PROCESSES = 4
THREADS = 3
MAX_IDS = 400_000


def count_for(link: Link, opening: Opening, number: int, seconds: float) -> None:
    """Count in some threads, each in its own way; send each answer: (first id, length, windows)."""
    counter = opening.open()
    answers: list[tuple[int, int, list[tuple[int, int]]]] = []
    over = time.monotonic() + seconds

    def singles(thread: int) -> None:
        id = number * 10**9 + thread * 10**8
        while time.monotonic() < over:
            for common in (id, id % 1_000):
                new, window = counter.add_in_window(common)
                answers.append((common, 1, [(window, int(new))]))
            id += 1

    def batches() -> None:
        id = -number * 10**9
        while time.monotonic() < over:
            for first in (id, id % 7 * 1_000):
                windows = counter.add_many_by_window(array("q", range(first, first + 500)))
                answers.append((first, 500, windows))
            id -= 500

    works = [lambda t=t: singles(t) for t in range(1, THREADS)]
    threads = [threading.Thread(target=work) for work in (*works, batches)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    link.send(answers)


@pytest.mark.parametrize("window", [1, 2])
def test_threads_in_processes_over_boundaries(
    segment: Path, start: Start, scale: Callable[[int], int], window: int
) -> None:
    opening = Opening(segment, window=window, max_ids=MAX_IDS)
    with Observer(segment, window, MAX_IDS) as observer:
        seconds = scale(30) * window * 0.75
        children = [start(count_for, opening, n, seconds) for n in range(1, PROCESSES + 1)]
        answers = [answer for child in children for answer in child.receive(seconds + 60)]
        records = observer.finish()

    new: dict[int, int] = {}
    placed: dict[int, list[np.ndarray[tuple[int], np.dtype[np.int64]]]] = {}
    for first, length, windows in answers:
        for start_of, count in windows:
            new[start_of] = new.get(start_of, 0) + count
            placed.setdefault(start_of, []).append(np.arange(first, first + length))
    published = {record.window_start: record for record in records}
    assert len(new) > 1
    for start_of, count in new.items():
        ids = observer.observed[start_of]
        assert published[start_of].unique == count == len(ids)
        # Of a batch over a boundary each id is in one of its two windows.
        sent = np.unique(np.concatenate(placed[start_of]))
        assert np.isin(ids, sent).all()
        assert published[start_of].requests >= count
    for first, length, windows in answers:
        ids = np.arange(first, first + length)
        there = np.isin(ids, np.concatenate([observer.observed[w] for w, _ in windows]))
        assert there.all()
    assert sum(record.requests for record in records) >= sum(length for _, length, _ in answers)
    assert not any(record.gap for record in records)
