"""Flipped bits and files cut short: an error or the right count, never a wrong one, never a crash.

The counts of `make damage` are larger; its results are in `results.jsonl`.
"""

from __future__ import annotations

import os
import random
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.crashes.damage import Outcome, Outcomes
from tests.support.crashes.damaged_files import Ledgers, spill_outcomes
from tests.support.crashes.segments import MEMORY, segment_outcomes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COUNT = 3_000

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory: each ledger is synchronised several times."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)


def _seed() -> str:
    return os.urandom(6).hex()


def _tally(outcomes: Outcomes) -> dict[str, int]:
    """Plain words: pytest's lanes cannot pass on an enum."""
    return {outcome.value: count for outcome, count in outcomes.items()}


def test_a_damaged_spill_is_never_read_as_another(
    memory: Path, scale: Callable[[int], int]
) -> None:
    seed, count = _seed(), scale(COUNT)
    outcomes = spill_outcomes(memory, count, random.Random(seed))
    assert outcomes == {Outcome.ERROR: count}, seed


def test_a_damaged_ledger_gives_no_wrong_count(
    memory: Path, scale: Callable[[int], int], record_property: Callable[[str, object], None]
) -> None:
    seed = _seed()
    chance = random.Random(seed)
    ledgers = Ledgers(memory)
    outcomes = Outcomes()
    for _ in range(scale(COUNT)):
        outcome, what = ledgers.damaged(chance)
        assert outcome is not Outcome.WRONG, f"seed {seed}: {what}"
        outcomes[outcome] += 1
    record_property("outcomes", _tally(outcomes))
    assert outcomes[Outcome.ERROR]


def test_a_damaged_segment_ends_no_process(
    scale: Callable[[int], int], record_property: Callable[[str, object], None]
) -> None:
    seed = _seed()
    outcomes, wrong, crashes = segment_outcomes(seed, scale(COUNT))
    record_property("outcomes", _tally(outcomes))
    assert not crashes, crashes
    # It has no checksums: most bits of it are unused, and some are ids and counts.
    assert outcomes[Outcome.RIGHT] > outcomes[Outcome.WRONG], (seed, len(wrong))
