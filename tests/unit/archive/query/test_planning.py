"""What the plan of a query may take: its files, its time and its memory."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.archive import places as archive
from tests.support.archive.noting_store import NotingStore
from tests.support.archive.places import ask
from verve.archive.format.levels import DAY, HOUR
from verve.archive.query.catalogue import THREADS
from verve.archive.query.counting import Limits
from verve.archive.query.distinct import distinct
from verve.archive.query.plan import Planner
from verve.archive.query.span import By, DeadlineError, Span
from verve.archive.store import open_store
from verve.archive.upkeep.expiry import Keep
from verve.archive.upkeep.forgetting import forget
from verve.archive.upkeep.roll_up import Host, roll_up_day, roll_up_hour
from verve.archive.upkeep.upkeep import Upkeep

if TYPE_CHECKING:
    from pathlib import Path

START = 1_764_460_800  # 2025-11-30T00:00:00Z
DAYS = 2
SPAN = Span(START, START + DAYS * DAY)


@pytest.fixture
def store(tmp_path: Path) -> NotingStore:
    return NotingStore(open_store(tmp_path / "ids"))


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(cluster="", host="one", segment="one0", scratch=tmp_path)


@pytest.fixture
def days(store: NotingStore, host: Host, tmp_path: Path) -> NotingStore:
    """Two days of hours, whose windows are gone."""
    for number in range(24 * DAYS):
        archive.put_window(store, tmp_path, START + number * HOUR, range(number, number + 10))
    upkeep = Upkeep(store, host, Keep(minutes=0))
    for _ in range(2):
        upkeep.turn(START + 4 * DAY)
    assert store.list("cluster=host/level=minute/") == []
    store.read.clear()
    return store


def test_a_plan_whose_time_is_over_reads_nothing(days: NotingStore) -> None:
    with pytest.raises(DeadlineError, match="hint: ask for a shorter span"):
        distinct(days, "", SPAN, limits=Limits(deadline=0.0))
    assert days.read == []


def test_a_plan_ends_amid_its_files(days: NotingStore) -> None:
    left = iter(range(20))

    def check() -> None:
        if next(left, None) is None:
            raise DeadlineError("it is over")

    with pytest.raises(DeadlineError, match="it is over"):
        Planner(days, "").plan(SPAN, By.HOUR, check)
    assert len(set(days.read)) <= 20 + THREADS


def test_hours_that_a_day_has_are_not_opened(days: NotingStore, host: Host, tmp_path: Path) -> None:
    whole = distinct(days, "", SPAN)
    assert days.hours() == set()
    assert whole.distinct == 24 * DAYS + 9
    assert [one.distinct for one in distinct(days, "", SPAN, by=By.DAY).buckets] == [33, 33]
    assert days.hours() == set()
    # The file of a day says how many ids each hour had.
    by_hour = distinct(days, "", SPAN, by=By.HOUR)
    assert [one.distinct for one in by_hour.buckets] == [10] * 24 * DAYS
    assert (days.hours(), by_hour.rows) == (set(), 0)
    # Of a day that the span does not cover whole, the hours answer.
    part = distinct(days, "", Span(START + HOUR, START + DAYS * DAY))
    assert part.distinct == 24 * DAYS + 8
    assert len(days.hours()) == 23
    before = whole.missing

    # A late window is in the file of its hour before that of its day has it.
    archive.put_window(days, tmp_path, START + 60, range(1000, 1007))
    assert roll_up_hour(days, host, START)
    days.read.clear()
    late = distinct(days, "", SPAN)
    assert late.distinct == whole.distinct + 7
    assert sum(one.windows for one in late.missing) == sum(one.windows for one in before) - 1
    assert len(days.hours()) == 1
    # And then the day names all of its hours again.
    assert roll_up_day(days, host, START)
    days.read.clear()
    assert distinct(days, "", SPAN).distinct == late.distinct
    assert days.hours() == set()
    # But not what the hours have, since the earlier one went into it.
    by_hour = distinct(days, "", SPAN, by=By.HOUR)
    assert [one.distinct for one in by_hour.buckets] == [17, *[10] * (24 * DAYS - 1)]
    assert len(days.hours()) == 24
    forget(days, "", 30, tmp_path)
    days.read.clear()
    by_hour = distinct(days, "", SPAN, by=By.HOUR)
    counts = [9 if hour in range(21, 31) else 10 for hour in range(24 * DAYS)]
    assert [one.distinct for one in by_hour.buckets] == [17, *counts[1:]]
    assert len(days.hours()) == 24 * DAYS


QUERY = """
import sys
from verve.archive.query import __main__ as query
query.SPARE_BYTES = int(sys.argv[1])
query.main()
"""


@pytest.mark.parametrize("enough", [True, False], ids=["enough", "too little"])
def test_the_process_of_a_query_has_a_bound_of_memory(tmp_path: Path, enough: bool) -> None:
    store = open_store(tmp_path / "ids")
    for number in range(2):
        archive.put_window(store, tmp_path, START + 60 * number, range(number, 60_000 + number))
    command = (sys.executable, "-c", QUERY, str((256 if enough else 8) * 2**20))
    found = ask(tmp_path / "ids", tmp_path, START, START + 120, command=command)
    if enough:
        assert found["answer"]["distinct"] == 60_001
    else:
        assert found["kind"] == "failed"
        assert "more memory than it may; hint: ask for a shorter span" in found["error"]
