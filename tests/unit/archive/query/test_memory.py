"""What a count takes: its bound, and no more."""

from __future__ import annotations

import itertools
import tracemalloc
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from verve.archive.query import counting
from verve.archive.query.pieces import HIGHEST, LOWEST, Ranges

FILES, GROUPS, ROWS = 100, 10, 1_000
CAPACITY = 150_000.0


def _even_file(number: int) -> Any:  # noqa: ANN401 - stands for a piece with a file
    """A file whose row groups end at about the same ids as those of its siblings."""
    edges = [LOWEST + number + (2**64 - 1) * edge // GROUPS for edge in range(GROUPS + 1)]
    groups = [
        SimpleNamespace(rows=ROWS, low=max(LOWEST, low), high=min(HIGHEST, high - 1))
        for low, high in itertools.pairwise(edges)
    ]
    return SimpleNamespace(file=SimpleNamespace(groups=groups))


def test_ranges_fit_where_the_groups_of_all_files_end_at_the_same_ids() -> None:
    ranges = Ranges([cast("Any", _even_file(number)) for number in range(FILES)], int(CAPACITY))
    low, sizes = LOWEST, []
    while True:
        high = ranges.end_of(low)
        sizes.append((high - low + 1) / 2**64 * FILES * GROUPS * ROWS)
        if high == HIGHEST:
            break
        low = high + 1
    assert max(sizes) <= CAPACITY * 1.01
    # None is needlessly small, but for the last one.
    assert min(sizes[:-1]) >= CAPACITY * 0.99


def test_ids_of_a_full_buffer_are_compacted_within_it() -> None:
    ids = np.random.default_rng(1).integers(0, 2**20, 2**20)
    expected = np.unique(ids)
    tracemalloc.start()
    kept = counting._compacted(ids)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert np.array_equal(ids[:kept], expected)
    assert most < ids.nbytes // 4


def test_no_ids_are_compacted_to_none() -> None:
    assert counting._compacted(np.empty(0, np.int64)) == 0
