from __future__ import annotations

import multiprocessing
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.support import rig
from verve.ledger import ledger
from verve.ledger.ledger import Ledger, LedgerError, LedgerFailure

if TYPE_CHECKING:
    from pathlib import Path

YEAR = 365 * 86_400

_VERSION_1 = """
CREATE TABLE windows (
    window_start INTEGER NOT NULL,
    window_seconds INTEGER NOT NULL,
    "unique" INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    duplicates INTEGER NOT NULL,
    late INTEGER NOT NULL,
    rejected INTEGER NOT NULL,
    gap INTEGER NOT NULL,
    degraded INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (window_start, window_seconds)
) WITHOUT ROWID;
CREATE TABLE deliveries (
    window_start INTEGER NOT NULL,
    window_seconds INTEGER NOT NULL,
    sink TEXT NOT NULL,
    taken_at REAL,
    PRIMARY KEY (window_start, window_seconds, sink)
) WITHOUT ROWID;
CREATE INDEX undelivered ON deliveries (sink, window_start, window_seconds) WHERE taken_at IS NULL;
PRAGMA user_version = 1;
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A ledger of version 1 with two minutes, of which Kafka took one."""
    path = tmp_path / ledger.FILE_NAME
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(_VERSION_1)
        for number, taken_at in ((0, 7.0), (1, None)):
            start = rig.MINUTE + 60 * number
            connection.execute(
                "INSERT INTO windows VALUES (?, 60, ?, 9, 1, 2, 3, 0, 0, 1)", (start, number)
            )
            connection.execute(
                "INSERT INTO deliveries VALUES (?, 60, 'kafka', ?)", (start, taken_at)
            )
    return path


def _version_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        return version


def _open(path: Path) -> None:
    for attempt in range(50):
        try:
            Ledger(path, YEAR).close()
        except LedgerError as error:
            if error.kind is not LedgerFailure.LOCKED or attempt == 49:
                raise
        else:
            return


OLD = [rig.window(n, n, requests=9, duplicates=1, late=2, rejected=3) for n in range(2)]


def test_a_ledger_of_version_1_is_upgraded(path: Path) -> None:
    with closing(Ledger(path, YEAR)) as opened:
        assert _version_of(path) == ledger.SCHEMA_VERSION == 2
        assert ledger.rows(path) == OLD[::-1]
        assert all("host_unique" not in window.as_json() for window in ledger.rows(path))
        assert opened.undelivered("kafka") == OLD[1:]
        of_cluster = rig.window(2, 8, host_unique=5)
        opened.record([of_cluster], sinks=["kafka"])
        assert opened.undelivered("kafka") == [OLD[1], of_cluster]
    assert ledger.rows(path, limit=1)[0].as_json()["host_unique"] == 5


def test_reading_a_ledger_of_version_1(path: Path) -> None:
    assert ledger.rows(path, limit=1) == OLD[1:]
    assert ledger.backlog(path, "kafka").windows == 1


def test_several_processes_may_upgrade_it_at_once(path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        pool.map(_open, [path] * 8)
    assert _version_of(path) == ledger.SCHEMA_VERSION
    assert ledger.rows(path) == OLD[::-1]
