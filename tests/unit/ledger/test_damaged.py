"""Each damage is told as damage, so that the leader sets the file aside and goes on."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.support import rig
from verve.ledger import ledger
from verve.ledger.ledger import Ledger, LedgerError, LedgerFailure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

YEAR = 365 * 86_400
# Places in the header of SQLite's file.
WRITE_VERSION, SCHEMA_FORMAT, USER_VERSION = 18, 44, 60


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A closed ledger with one minute."""
    path = tmp_path / ledger.FILE_NAME
    with closing(Ledger(path, YEAR)) as opened:
        opened.record([rig.window(0, 5)], sinks=["log"])
    return path


def _damage(path: Path, at: int, byte: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] = byte
    path.write_bytes(content)


def _replace(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    assert len(old) == len(new)
    path.write_bytes(content.replace(old, new, 1))


def _check(path: Path) -> None:
    with pytest.raises(LedgerError) as caught, closing(Ledger(path, YEAR)) as opened:
        opened.record([rig.window(1, 7)], sinks=["log"])
    assert caught.value.kind is LedgerFailure.DAMAGED, caught.value
    ledger.set_aside(path)
    with closing(Ledger(path, YEAR)) as opened:
        opened.record([rig.window(1, 7)])
    assert ledger.rows(path) == [rig.window(1, 7)]


@pytest.mark.parametrize(
    ("at", "byte"),
    [
        (USER_VERSION, 0x80),
        (USER_VERSION + 3, 0),
        (WRITE_VERSION, 3),
        (WRITE_VERSION, 0x82),
        (SCHEMA_FORMAT + 3, 5),
    ],
)
def test_a_damaged_header(path: Path, at: int, byte: int) -> None:
    _damage(path, at, byte)
    _check(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"requests INTEGER NOT NULL", b"rfquests INTEGER NOT NULL"),
        (b"requests INTEGER NOT NULL", b"r\xe5quests INTEGER NOT NULL"),
        (b"taken_at REAL", b"tbken_at REAL"),
        (b"CREATE TABLE deliveries", b"CREATE TABLE delivesies"),
        (b"replaces INTEGER", b"repmaces INTEGER"),
        (
            b"VALUES (new.window_start, new.window_seconds, 0)",
            b"VALUES (old.window_start, new.window_seconds, 0)",
        ),
        (b"window_seconds, 1);", b"window_seconds, 5);"),
        (b"1103515245", b"1103515244"),
        (b"ledger TEXT", b"lfdger TEXT"),
    ],
)
def test_a_damaged_schema(path: Path, old: bytes, new: bytes) -> None:
    _replace(path, old, new)
    _check(path)


@pytest.mark.parametrize(
    "break_it",
    [
        lambda connection: connection.execute("DELETE FROM sums"),
        lambda connection: connection.execute(
            "UPDATE windows SET window_start = 'x' WHERE window_start > 0"
        ),
    ],
)
def test_a_row_that_is_left_out_hinders_no_other(
    path: Path, break_it: Callable[[sqlite3.Connection], object]
) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        break_it(connection)
    with closing(Ledger(path, YEAR)) as opened:
        opened.record([rig.window(1, 7)], sinks=["log"])
        assert opened.undelivered("log") == [rig.window(1, 7)]
    assert ledger.rows(path) == [rig.window(1, 7)]


def test_a_broken_constraint_is_damage(path: Path) -> None:
    # As an index does that has an entry too many: its row is never removed before the next one.
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(
            f"INSERT INTO changes VALUES (77, {rig.MINUTE + 60}, 60, 0)"  # noqa: S608 - ours
        )
        connection.execute("DROP TRIGGER window_recorded")
        connection.execute(
            "CREATE TRIGGER window_recorded AFTER INSERT ON windows BEGIN "
            "INSERT INTO changes (window_start, window_seconds, replaces) "
            "VALUES (new.window_start, new.window_seconds, 0); END"
        )
    with closing(Ledger(path, YEAR)) as opened, pytest.raises(LedgerError) as caught:
        opened.record([rig.window(1, 7)])
    assert caught.value.kind is LedgerFailure.DAMAGED


def test_a_file_that_may_not_be_written_is_not_damaged(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root may write any file, so a header stands for the mode.
    _damage(path, WRITE_VERSION, 3)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with closing(Ledger(path, YEAR)) as opened, pytest.raises(LedgerError) as caught:
        opened.record([rig.window(1, 7)])
    assert caught.value.kind is LedgerFailure.BROKEN


def test_a_start_beside_a_writer_does_not_wait_for_its_end(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with closing(Ledger(path, YEAR)):
            assert ledger.rows(path) == [rig.window(0, 5)]
        other.execute("ROLLBACK")


def test_a_start_leaves_no_trace_of_its_trial(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        before = list(connection.iterdump())
        Ledger(path, YEAR).close()
        assert list(connection.iterdump()) == before
