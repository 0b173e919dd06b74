"""The file of the ledger: its tables, their versions, and how to open it."""

from __future__ import annotations

import contextlib
import functools
import os
import sqlite3
import stat
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from verve import directories

from . import sums
from .errors import LedgerError, LedgerFailure, mapped

if TYPE_CHECKING:
    from collections.abc import Iterator

BUSY_SECONDS = 0.25
"""Seconds that a statement waits for the lock of another process."""
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

# Shows the table `windows` of a ledger of version 1 as that of version 2.
_VERSION_1 = """
CREATE TEMP VIEW windows AS
SELECT window_start, window_seconds, "unique", requests, duplicates, late, rejected, gap, degraded,
revision, NULL AS host_unique FROM main.windows
"""
# The statement that leads to each version from the one before.
_MIGRATIONS = {2: "ALTER TABLE windows ADD COLUMN host_unique INTEGER"}

# Additions to any version, which an earlier Verve does not read. Triggers fill them, so that it
# fills them as well. A window has one row, its newest change; `replaces` tells a revision.
_CHANGES = """
CREATE TABLE ledger_id (ledger TEXT NOT NULL);;
INSERT INTO ledger_id VALUES (lower(hex(randomblob(8))));;
CREATE TABLE changes (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    window_start INTEGER NOT NULL,
    window_seconds INTEGER NOT NULL,
    replaces INTEGER NOT NULL,
    UNIQUE (window_start, window_seconds)
);;
CREATE TRIGGER window_recorded AFTER INSERT ON windows BEGIN
    DELETE FROM changes
    WHERE (window_start, window_seconds) = (new.window_start, new.window_seconds);
    INSERT INTO changes (window_start, window_seconds, replaces)
    VALUES (new.window_start, new.window_seconds, 0);
END;;
CREATE TRIGGER window_replaced AFTER UPDATE ON windows BEGIN
    DELETE FROM changes
    WHERE (window_start, window_seconds) = (new.window_start, new.window_seconds);
    INSERT INTO changes (window_start, window_seconds, replaces)
    VALUES (new.window_start, new.window_seconds, 1);
END;;
CREATE TRIGGER window_dropped AFTER DELETE ON windows BEGIN
    DELETE FROM changes
    WHERE (window_start, window_seconds) = (old.window_start, old.window_seconds);
END
"""

# A window that never was. Each start stores it, replaces it, and takes it back.
_TRIED = {"window_start": 0, "window_seconds": 1} | dict.fromkeys(sums.COLUMNS[2:], 1)
_TRIAL = (
    f"INSERT INTO windows VALUES ({', '.join(map(str, _TRIED.values()))}) "  # noqa: S608 - ours
    "ON CONFLICT (window_start, window_seconds) DO UPDATE SET revision = excluded.revision"
)
_TRIED_ROWS = (
    f"SELECT {sums.COLUMNS_OF_W}, c.replaces "  # noqa: S608 - ours
    "FROM windows w JOIN deliveries d USING (window_start, window_seconds) "
    "JOIN changes c USING (window_start, window_seconds) JOIN ledger_id "
    "WHERE d.sink = 'trial' AND d.taken_at IS NULL AND c.number > 0 AND ledger != ''"
)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection | None]:
    """Open a connection that reads; None while there is no ledger. Raises `LedgerError`."""
    with mapped(path):
        if not path.exists():
            yield None
            return
        with contextlib.closing(_reader(path)) as connection, _judging_schema(path):
            version = _check_version(connection, path)
            if version == 1:
                # An earlier Verve made it and may be running; only the next leader upgrades it. A
                # view of this connection shows it as it will be.
                connection.execute(_VERSION_1)
            # Version 0: another process is making it right now.
            if version:
                sums.assume(connection)
            yield connection if version else None


def identity_of(path: Path) -> tuple[int, int] | None:
    """Return device and inode, which tell the file from one that replaces it."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None


def _reader(path: Path) -> sqlite3.Connection:
    # It only reads. But a process that was killed inside a transaction leaves a journal that the
    # next connection must apply, and SQLite refuses that to connections of `mode=ro`.
    address = f"file:{quote(str(path))}?mode=rw"
    return sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS, isolation_level=None)


def open_for_writing(path: Path) -> sqlite3.Connection:
    """Open the connection that writes, and make or upgrade the file."""
    directories.make(path.parent)
    # SQLite gives the files beside the database the mode of the database itself. An existing file
    # must not be opened here: closing it drops the locks of all connections of this process, and
    # the next process that closes its own would remove the log that those still write.
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(
        path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        with _judging_schema(path):
            _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    if _check_version(connection, path) == 0:
        connection.execute("BEGIN IMMEDIATE")
        if _check_version(connection, path) == 0:
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)
        connection.execute("COMMIT")
    _migrate(connection, path)
    _follow_changes(connection)
    sums.make(connection)
    _check_pages(connection, path)
    _try_out(connection, path)


@contextlib.contextmanager
def _judging_schema(path: Path) -> Iterator[None]:
    """Call it damage if a statement of ours does not suit the tables: it suits sound ones."""
    try:
        yield
    except sqlite3.OperationalError as error:
        code = getattr(error, "sqlite_errorcode", 0)
        if code == sqlite3.SQLITE_ERROR and _suits_sound_tables():
            raise LedgerError(LedgerFailure.DAMAGED, str(error), path) from error
        raise


@functools.cache
def _suits_sound_tables() -> bool:
    """Whether this SQLite takes all statements at all: one that is too old does not."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        try:
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)
            _follow_changes(connection)
            sums.make(connection)
            _try_out(connection, Path(":memory:"))
        except (sqlite3.Error, LedgerError):
            return False
    return True


def _try_out(connection: sqlite3.Connection, path: Path) -> None:
    """Do what a record does, and take it back: damage to header, tables and triggers shows."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        found = _tried(connection)
    except sqlite3.OperationalError as error:
        code = getattr(error, "sqlite_errorcode", 0)
        if code == sqlite3.SQLITE_READONLY and os.access(path, os.W_OK):
            raise LedgerError(LedgerFailure.DAMAGED, "its header refuses writers", path) from error
        if code & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_READONLY}:
            # Another process is inside a transaction, or this one may not write: records tell.
            return
        raise
    finally:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
    if found != [(*_TRIED.values(), 1, replaces) for replaces in (0, 1)]:
        raise LedgerError(LedgerFailure.DAMAGED, f"a trial gives {found}", path)


def _tried(connection: sqlite3.Connection) -> list[tuple[object, ...]]:
    connection.execute(
        "INSERT INTO deliveries (window_start, window_seconds, sink) VALUES (0, 1, 'trial')"
    )
    found = []
    for _ in range(2):
        connection.execute(_TRIAL)
        found += connection.execute(_TRIED_ROWS).fetchall()
    connection.execute("DELETE FROM windows WHERE (window_start, window_seconds) = (0, 1)")
    return found


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Upgrade an older ledger to this version, with one transaction per step."""
    for version in range(_check_version(connection, path) + 1, SCHEMA_VERSION + 1):
        connection.execute("BEGIN IMMEDIATE")
        if _check_version(connection, path) == version - 1:
            connection.execute(_MIGRATIONS[version])
            connection.execute(f"PRAGMA user_version = {version}")
        connection.execute("COMMIT")


def has_changes(connection: sqlite3.Connection) -> bool:
    """Whether the ledger numbers its changes: any that this Verve has written does."""
    known = "SELECT 1 FROM main.sqlite_master WHERE type = 'table' AND name = 'ledger_id'"
    return connection.execute(known).fetchone() is not None


def _follow_changes(connection: sqlite3.Connection) -> None:
    if has_changes(connection):
        return
    connection.execute("BEGIN IMMEDIATE")
    if not has_changes(connection):
        for statement in _CHANGES.split(";;"):
            connection.execute(statement)
    connection.execute("COMMIT")


def _check_version(connection: sqlite3.Connection, path: Path) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version < 0:
        raise LedgerError(LedgerFailure.DAMAGED, f"its version is {version}", path)
    if version > SCHEMA_VERSION:
        detail = f"its version is {version}, this Verve knows up to {SCHEMA_VERSION}"
        raise LedgerError(LedgerFailure.NEWER, detail, path)
    return version


def _check_pages(connection: sqlite3.Connection, path: Path) -> None:
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise LedgerError(LedgerFailure.DAMAGED, found, path)
