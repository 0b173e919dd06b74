from __future__ import annotations

import multiprocessing
import pickle
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.support import rig
from verve.ledger import ledger
from verve.ledger.ledger import Ledger, LedgerError, LedgerFailure, Receipt
from verve.windows.window import Window

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.synchronize import Event
    from pathlib import Path

YEAR = 365 * 86_400


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / ledger.FILE_NAME


@pytest.fixture
def opened(path: Path) -> Iterator[Ledger]:
    made = Ledger(path, YEAR)
    yield made
    made.close()


def _hold(path: Path, held: Event, release: Event) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        held.set()
        release.wait(30)


@pytest.fixture
def locked(opened: Ledger) -> Iterator[None]:
    """Another process is inside a transaction."""
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(opened.path, held, release))
    holder.start()
    assert held.wait(30)
    yield
    release.set()
    holder.join()


def _redeliver(path: Path) -> None:
    other = Ledger(path, YEAR)
    other.reopen("kafka", 0, 1)
    other.close()


def test_a_process_that_closes_does_not_remove_the_log_of_others(opened: Ledger) -> None:
    second = Ledger(opened.path, YEAR)
    opened.record([Window(window_start=60, window_seconds=60, unique=1)])
    other = multiprocessing.get_context("spawn").Process(target=_redeliver, args=(opened.path,))
    other.start()
    other.join()
    assert other.exitcode == 0
    opened.record([Window(window_start=120, window_seconds=60, unique=2)])
    second.close()
    with closing(sqlite3.connect(opened.path)) as fresh:
        found = fresh.execute("SELECT window_start FROM windows ORDER BY 1").fetchall()
    assert found == [(60,), (120,)]


def test_no_ledger_no_windows(path: Path) -> None:
    assert ledger.rows(path) == []


def test_windows_come_back_newest_first(opened: Ledger) -> None:
    windows = [
        rig.window(
            n, n, requests=2 * n, duplicates=n, late=1, rejected=3, gap=n == 1, degraded=n == 2
        )
        for n in range(4)
    ]
    opened.record(windows)
    assert ledger.rows(opened.path) == windows[::-1]
    assert ledger.rows(opened.path, limit=1) == [windows[3]]
    assert (
        ledger.rows(opened.path, since=rig.MINUTE + 60, until=rig.MINUTE + 180) == windows[2:0:-1]
    )


def test_recording_again_changes_nothing(opened: Ledger) -> None:
    opened.record([rig.window(0, 5)], sinks=["log"])
    rig.mark_taken(opened, "log", [rig.window(0).key], 7.0)
    opened.record([rig.window(0, 9)], sinks=["log"])
    assert ledger.rows(opened.path) == [rig.window(0, 5)]
    assert opened.undelivered("log") == []


def test_a_higher_revision_replaces_and_is_delivered_again(opened: Ledger) -> None:
    opened.record([rig.window(0, 5)], sinks=["log"])
    rig.mark_taken(opened, "log", [rig.window(0).key], 7.0)
    opened.record([rig.window(0, 9, revision=2)], sinks=["log"])
    assert opened.undelivered("log") == [rig.window(0, 9, revision=2)]
    opened.record([rig.window(0, 5)], sinks=["log"])
    assert ledger.rows(opened.path) == [rig.window(0, 9, revision=2)]


def test_windows_of_two_lengths_live_side_by_side(opened: Ledger) -> None:
    long = rig.window()
    short = Window(window_start=rig.MINUTE, window_seconds=2, unique=3)
    opened.record([long, short])
    assert ledger.rows(opened.path) == [long, short]


def test_deliveries(opened: Ledger) -> None:
    keys = [rig.window(n).key for n in range(3)]
    opened.record([rig.window(0)], sinks=["log"])
    opened.record(
        [rig.window(1), rig.window(2)],
        sinks=["log", "kafka"],
        taken={("log", keys[1]): Receipt(11.5, 1)},
    )
    assert [w.key for w in opened.undelivered("log")] == [keys[0], keys[2]]
    assert [w.key for w in opened.undelivered("kafka")] == keys[1:]
    rig.mark_taken(opened, "log", keys, 12.5)
    assert opened.undelivered("log") == []
    assert [opened.taken_at("log", key) for key in keys] == [12.5, 11.5, 12.5]
    assert opened.taken_at("kafka", keys[0]) is None
    assert opened.taken_at("kafka", keys[1]) is None


def test_undelivered_uses_its_index(opened: Ledger) -> None:
    with closing(sqlite3.connect(opened.path)) as connection:
        plan = connection.execute(
            "EXPLAIN QUERY PLAN SELECT * FROM windows w "
            "JOIN deliveries d USING (window_start, window_seconds) "
            "WHERE d.sink = 'log' AND d.taken_at IS NULL ORDER BY d.window_start, d.window_seconds"
        ).fetchall()
    assert "USING INDEX undelivered" in plan[0][3]
    assert not any("TEMP B-TREE" in row[3] for row in plan)


def test_it_is_durable_and_private(opened: Ledger) -> None:
    connection = opened._connection
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert opened.path.stat().st_mode & 0o777 == 0o600
    assert opened.path.parent.stat().st_mode & 0o777 == 0o700


def test_reading_goes_on_beside_writing(opened: Ledger) -> None:
    opened.record([rig.window(0)])
    with opened._transaction(lambda: True):
        assert ledger.rows(opened.path) == [rig.window(0)]


@pytest.mark.usefixtures("locked")
def test_a_write_waits_a_moment_for_a_lock(opened: Ledger) -> None:
    start = time.monotonic()
    with pytest.raises(LedgerError) as caught:
        opened.record([rig.window()])
    assert time.monotonic() - start < 10
    assert caught.value.kind is LedgerFailure.LOCKED
    assert str(caught.value).startswith("the ledger is locked: ")
    assert "; hint: " in str(caught.value)
    assert ledger.rows(opened.path) == []


def test_a_full_disk(opened: Ledger) -> None:
    pages = opened._connection.execute("PRAGMA page_count").fetchone()[0]
    opened._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(LedgerError) as caught:
        opened.record([rig.window(n) for n in range(10_000)])
    assert caught.value.kind is LedgerFailure.FULL
    assert ledger.rows(opened.path) == []
    opened._connection.execute("PRAGMA max_page_count = 100000")
    opened.record([rig.window(0)])
    assert ledger.rows(opened.path) == [rig.window(0)]


def test_a_deposed_leader_writes_nothing(opened: Ledger) -> None:
    for fence in (lambda: False, iter([True, False]).__next__):
        with pytest.raises(LedgerError) as caught:
            opened.record([rig.window()], fence=fence)
        assert caught.value.kind is LedgerFailure.DEPOSED
    assert ledger.rows(opened.path) == []


@pytest.mark.parametrize("content", [b"garbage " * 2_000, b"SQLite format 3\0" + b"\xff" * 9_000])
def test_a_damaged_file_is_an_error_and_set_aside(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(LedgerError) as caught:
        Ledger(path, YEAR)
    assert caught.value.kind is LedgerFailure.DAMAGED
    kept = ledger.set_aside(path)
    assert kept.read_bytes() == content
    with closing(Ledger(path, YEAR)) as opened:
        opened.record([rig.window()])


def test_damage_inside_is_found_at_the_start(path: Path) -> None:
    with closing(Ledger(path, YEAR)) as opened:
        opened.record([rig.window(n) for n in range(5_000)])
    content = bytearray(path.read_bytes())
    content[20_000:24_000] = b"\xff" * 4_000
    path.write_bytes(content)
    with pytest.raises(LedgerError) as caught:
        Ledger(path, YEAR)
    assert caught.value.kind is LedgerFailure.DAMAGED


def test_a_newer_ledger_is_not_changed(opened: Ledger) -> None:
    opened._connection.execute("PRAGMA user_version = 99")
    for attempt in (lambda: Ledger(opened.path, YEAR), lambda: ledger.rows(opened.path)):
        with pytest.raises(LedgerError, match="version is 99") as caught:
            attempt()
        assert caught.value.kind is LedgerFailure.NEWER
        assert "`pip install --upgrade verve-counter`" in str(caught.value)


def test_a_path_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError) as caught:
        Ledger(tmp_path / "file" / ledger.FILE_NAME, YEAR)
    assert caught.value.kind is LedgerFailure.BROKEN


def test_a_kill_in_the_middle_of_a_transaction_does_not_stop_readers(path: Path) -> None:
    """The rollback journal that a killed process leaves is applied by the next that reads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = (
        "import os, sqlite3, sys\n"
        "database = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "database.execute('PRAGMA cache_size = 1')\n"
        "database.execute('CREATE TABLE t (c)')\n"
        "database.execute('BEGIN')\n"
        "for _ in range(100):\n"
        "    database.execute('INSERT INTO t VALUES (zeroblob(4000))')\n"
        "os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", unfinished, str(path)], check=True)
    journal = path.with_name(f"{path.name}-journal")
    assert journal.stat().st_size > 0
    assert ledger.rows(path) == []


def test_a_removed_file_is_noticed(opened: Ledger) -> None:
    assert not opened.replaced
    opened.path.unlink()
    assert opened.replaced


def test_two_processes_may_make_it_at_once(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(4) as pool:
        pool.map(_make, [path] * 8)
    assert len(ledger.rows(path)) == 1


def _make(path: Path) -> None:
    end = time.monotonic() + 20
    while True:
        try:
            with closing(Ledger(path, YEAR)) as opened:
                opened.record([rig.window()])
        except LedgerError as error:
            if error.kind is not LedgerFailure.LOCKED or time.monotonic() > end:
                raise
        else:
            return


def test_what_a_sink_took_holds_for_that_revision(opened: Ledger) -> None:
    first, second = rig.window(0, 5), rig.window(0, 9, revision=2)
    key = first.key
    opened.record([first], sinks=["log", "kafka"])
    opened.record([second], sinks=lambda _window: ["log"], taken={("log", key): Receipt(7.0, 1)})
    # The log took what is replaced; Kafka has taken nothing, and gets what is there.
    assert opened.undelivered("log") == opened.undelivered("kafka") == [second]
    opened.mark_taken("kafka", first, 8.0, fence=lambda: True)
    assert not ledger.has_taken(opened.path, "kafka", key, 1)
    opened.mark_taken("kafka", second, 9.0, fence=lambda: True)
    assert ledger.has_taken(opened.path, "kafka", key, 2)
    # The next one is another host's to deliver, until that one dies.
    third = rig.window(0, 11, revision=3)
    opened.record([third], sinks=lambda _window: ["log"])
    assert not ledger.has_taken(opened.path, "kafka", key, 2)
    assert opened.undelivered("kafka") == []
    opened.record([third], sinks=lambda _window: ["log", "kafka"])
    assert opened.undelivered("kafka") == [third]
    opened.record(
        [second], sinks=lambda _window: ["log", "kafka"], taken={("kafka", key): Receipt(9.0, 3)}
    )
    assert ledger.has_taken(opened.path, "kafka", key, 3)


@dataclass
class Record:
    """Windows are recorded: number and revision of each."""

    windows: list[tuple[int, int]]


@dataclass
class Mark:
    """The sink took these windows."""

    numbers: list[int]


numbers = st.integers(0, 30)
records = st.builds(Record, st.lists(st.tuples(numbers, st.integers(1, 3)), max_size=5))
marks = st.builds(Mark, st.lists(numbers, max_size=5))


@hypothesis_settings(max_examples=60, deadline=None)
@given(st.lists(records | marks, max_size=12))
def test_it_behaves_like_a_dictionary(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Record | Mark]
) -> None:
    path = tmp_path_factory.mktemp("ledger") / ledger.FILE_NAME
    revisions: dict[int, int] = {}
    waiting: set[int] = set()
    with closing(Ledger(path, YEAR)) as opened:
        for step in steps:
            if isinstance(step, Mark):
                rig.mark_taken(
                    opened, "log", [rig.window(number).key for number in step.numbers], 1.0
                )
                waiting -= set(step.numbers)
                continue
            opened.record(
                [rig.window(n, 10 * r, revision=r) for n, r in step.windows], sinks=["log"]
            )
            for number, revision in step.windows:
                if revision > revisions.get(number, 0):
                    revisions[number] = revision
                    waiting.add(number)
        expected = [rig.window(n, 10 * r, revision=r) for n, r in sorted(revisions.items())]
        assert ledger.rows(path) == expected[::-1]
        keys = [rig.window(number).key for number in sorted(waiting)]
        assert [window.key for window in opened.undelivered("log")] == keys


def test_an_error_passes_between_processes(path: Path) -> None:
    error = LedgerError(LedgerFailure.FULL, "no room", path)
    read = pickle.loads(pickle.dumps(error))  # noqa: S301 - its own
    assert (type(read), read.kind, str(read)) == (LedgerError, LedgerFailure.FULL, str(error))
