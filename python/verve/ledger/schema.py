"""The file of the ledger: its tables and their versions, and how it is opened."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from typing import TYPE_CHECKING
from urllib.parse import quote

from .errors import LedgerError, LedgerTrouble, mapped

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUSY_SECONDS = 0.25
SCHEMA_VERSION = 2

_SCHEMA = f"""
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
    host_unique INTEGER,
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
PRAGMA user_version = {SCHEMA_VERSION};
"""

# What stands in for `windows` to who reads a ledger of version 1.
_VERSION_1 = """
CREATE TEMP VIEW windows AS
SELECT window_start, window_seconds, "unique", requests, duplicates, late, rejected, gap, degraded,
revision, NULL AS host_unique FROM main.windows
"""
# From the version before to each one.
_MIGRATIONS = {2: "ALTER TABLE windows ADD COLUMN host_unique INTEGER"}


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection | None]:
    """A connection that reads, or None while there is no ledger yet. Raises `LedgerError`."""
    with mapped(path):
        if not path.exists():
            yield None
            return
        with contextlib.closing(_reader(path)) as connection:
            version = _check_version(connection, path)
            if version == 1:
                # Of an earlier Verve, which may be running: to bring it up to date is the next
                # leader's. A view of this connection alone shows it as it will be.
                connection.execute(_VERSION_1)
            # Version 0: it is being made right now.
            yield connection if version else None


def identity_of(path: Path) -> tuple[int, int] | None:
    """What tells the file from one that replaces it."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None


def _reader(path: Path) -> sqlite3.Connection:
    address = f"file:{quote(str(path))}?mode=ro"
    return sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS, isolation_level=None)


def open_for_writing(path: Path) -> sqlite3.Connection:
    """Open the one connection that writes, and make the file or bring it up to date."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # SQLite gives the files beside the database the mode of the database itself. One that is there
    # must not be opened here: to close it drops the locks of all connections of this process, and
    # the next process to close its own would then remove the log that these go on writing.
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(
        path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        if _check_version(connection, path) == 0:
            connection.execute("BEGIN IMMEDIATE")
            if _check_version(connection, path) == 0:
                for statement in _SCHEMA.split(";"):
                    connection.execute(statement)
            connection.execute("COMMIT")
        _migrate(connection, path)
        _check_pages(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring an older ledger to this version, step by step, each as a whole."""
    for version in range(_check_version(connection, path) + 1, SCHEMA_VERSION + 1):
        connection.execute("BEGIN IMMEDIATE")
        if _check_version(connection, path) == version - 1:
            connection.execute(_MIGRATIONS[version])
            connection.execute(f"PRAGMA user_version = {version}")
        connection.execute("COMMIT")


def _check_version(connection: sqlite3.Connection, path: Path) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        detail = f"its version is {version}, this Verve knows up to {SCHEMA_VERSION}"
        raise LedgerError(LedgerTrouble.NEWER, detail, path)
    return version


def _check_pages(connection: sqlite3.Connection, path: Path) -> None:
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise LedgerError(LedgerTrouble.DAMAGED, found, path)
