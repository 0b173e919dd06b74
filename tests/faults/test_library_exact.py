"""Many threads in many processes at once, over many windows: every count is exact."""

from __future__ import annotations

import threading
import time
from array import array
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.faults.journal import ATTACHED, Life
from tests.faults.observer import Observer
from tests.faults.oracle import differences
from tests.faults.parts import Opening

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.children import Link
    from tests.faults.conftest import Start

PROCESSES = 4
THREADS = 3
MAX_IDS = 1_000_000
CALLS = 20_000
"""A thread makes as many at the most, spread over the time."""


def count_for(link: Link, opening: Opening, number: int, seconds: float) -> None:
    """Count in some threads, each in its own way; send the answers of each as a journal's rows."""
    counter = opening.open()
    begun = time.monotonic()

    def count(thread: int) -> None:
        rows = array("q")
        length = 1 if thread else 200
        fresh = (number * THREADS + thread) * 10**9 - (1 << 62)
        for call in range(CALLS // length):
            # Every other call is about ids that the others send, too.
            first = call * length % 5_000 - 2_500 if call % 2 else fresh + call * length
            if thread:
                new, window = counter.add_in_window(first)
                answer = [(window, int(new))]
            else:
                ids = array("q", range(first, first + length))
                answer = counter.add_many_by_window(ids)
            flat = [value for pair in answer for value in pair]
            rows.extend([first, length, len(answer), *flat, *[0] * (6 - len(flat))])
            early = begun + seconds * call * length / CALLS - time.monotonic()
            if early > 0:
                time.sleep(early)
        answers[thread] = rows

    answers: dict[int, array[int]] = {}
    threads = [threading.Thread(target=count, args=(thread,)) for thread in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    link.send(list(answers.values()))


@pytest.mark.timeout(300)
def test_threads_in_processes_over_boundaries(
    segment: Path, start: Start, scale: Callable[[int], int]
) -> None:
    opening = Opening(segment, window=1, max_ids=MAX_IDS)
    seconds = scale(30) + 0.5
    with Observer(segment, 1, MAX_IDS) as observer:
        children = [start(count_for, opening, n, seconds) for n in range(1, PROCESSES + 1)]
        journals = [rows for child in children for rows in child.receive(seconds + 120)]
        records = observer.finish()
    lives = [Life(ATTACHED, np.array(rows).reshape(-1, 9), None, 0, 0) for rows in journals]
    assert len(lives) == PROCESSES * THREADS
    assert not differences(lives, observer.observed, records)
    # A duplicate that comes while its window is being published may miss the record's requests.
    sent = sum(life.calls[:, 1].sum() for life in lives)
    assert 0.99 * sent <= sum(record.requests for record in records) <= sent
    assert len([record for record in records if record.unique]) > seconds / 2
    assert not any(record.gap for record in records)
