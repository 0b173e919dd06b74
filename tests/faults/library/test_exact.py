"""Many threads in many processes at once, over many windows: every count is exact."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.support.processes.journal import ATTACHED
from tests.support.processes.journals import Life
from tests.support.processes.observer import Observer
from tests.support.processes.oracle import differences
from tests.support.processes.parts import Opening
from tests.support.processes.writers import THREADS, count_around

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.conftest import Start

pytestmark = pytest.mark.alone(reason="its processes get little time beside other work")

PROCESSES = 4
MAX_IDS = 1_000_000


@pytest.mark.timeout(300)
def test_threads_in_processes_around_boundaries(
    segment: Path, start: Start, scale: Callable[[int], int]
) -> None:
    opening = Opening(segment, window=1, max_ids=MAX_IDS)
    boundaries = scale(50)
    with Observer(segment, 1, MAX_IDS) as observer:
        children = [start(count_around, opening, n, boundaries) for n in range(1, PROCESSES + 1)]
        journals = [rows for child in children for rows in child.receive(boundaries + 120)]
        records = observer.finish()
    lives = [Life(ATTACHED, np.array(rows).reshape(-1, 9), None, 0, 0) for rows in journals]
    assert len(lives) == PROCESSES * THREADS
    assert not differences(lives, observer.observed, records)
    # Requests, unlike ids, are counted beside the table: those under way when their window was
    # published may be in its record or not.
    sent = sum(life.calls[:, 1].sum() for life in lives)
    assert 0.99 * sent <= sum(record.requests for record in records) <= 1.01 * sent
    assert len([record for record in records if record.unique]) > boundaries / 2
    assert not any(record.gap and record.unique for record in records)
