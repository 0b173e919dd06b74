"""The ledger: every closed window of this host, for a year, in SQLite.

It is also the outbox. When a window is recorded, one delivery is opened for each sink; a delivery
is closed when its sink has taken the window. So a sink that is switched on today starts with the
next window and not with last year's.

Writing takes one connection, held by the leader. Reading opens the file for each question, so any
worker and the command line may read at any time. Nothing here waits longer than `BUSY_SECONDS`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import threading
import time
from dataclasses import fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ._verve import VerveError
from .window import Key, Window

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    from .config import Settings

BUSY_SECONDS = 0.25
SCHEMA_VERSION = 1
FILE_NAME = "ledger.sqlite3"
# Deleting a year in one transaction would hold the lock for long after `VERVE_KEEP` was lowered.
_EXPIRE_AT_ONCE = 5_000

_COLUMNS = tuple(column.name for column in fields(Window))
_KEY = ", ".join(Key._fields)
_VALUES = ", ".join(f":{name}" for name in _COLUMNS)
# `unique` is a word of SQL too.
_REPLACED = ", ".join(
    f'"{name}" = excluded."{name}"' for name in _COLUMNS if name not in Key._fields
)
_QUALIFIED = ", ".join(f'w."{name}"' for name in _COLUMNS)
_SELECT = f"SELECT {_QUALIFIED} FROM windows w"  # noqa: S608 - the names are ours

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


class LedgerTrouble(StrEnum):
    """What kept the ledger from its work."""

    LOCKED = "locked"
    FULL = "full"
    DAMAGED = "damaged"
    NEWER = "newer"
    DEPOSED = "deposed"
    BROKEN = "broken"


_HINTS = {
    LedgerTrouble.LOCKED: "another process is inside a transaction, it will be tried again",
    LedgerTrouble.FULL: "make room on the disk, the windows wait in the segment for a day",
    LedgerTrouble.DAMAGED: "the next leader sets the file aside and starts a new one",
    LedgerTrouble.NEWER: "a newer Verve made it, use that one or another state directory",
    LedgerTrouble.DEPOSED: "another worker leads now and does this work",
    LedgerTrouble.BROKEN: "see that the directory exists and belongs to the user of the service",
}


class LedgerError(VerveError):
    """The ledger could not be read or written; `trouble` says why."""

    def __init__(self, trouble: LedgerTrouble, detail: str, path: Path) -> None:
        super().__init__(f"the ledger is {trouble}: {detail}: `{path}`; hint: {_HINTS[trouble]}")
        self.trouble = trouble


def path_of(settings: Settings) -> Path:
    """Where the ledger of these settings is."""
    return settings.state_dir / FILE_NAME


def rows(
    path: Path,
    limit: int | None = None,
    since: int | None = None,
    until: int | None = None,
) -> list[Window]:
    """The windows that start in `since..until` (seconds since the epoch), newest first.

    No ledger yet means no windows.
    """
    where = "WHERE w.window_start >= :since AND w.window_start < :until"
    order = "ORDER BY w.window_start DESC, w.window_seconds DESC LIMIT :limit"
    bounds = {
        "since": -(2**63) if since is None else since,
        "until": 2**63 - 1 if until is None else until,
        "limit": -1 if limit is None else limit,
    }
    with _errors(path):
        if not path.exists():
            return []
        with contextlib.closing(_reader(path)) as connection:
            if _check_version(connection, path) == 0:
                return []  # it is being made right now
            found = connection.execute(f"{_SELECT} {where} {order}", bounds)
            return [_window(row) for row in found]


class Ledger:
    """The one connection that writes, made by `open_ledger`. Any thread may call its methods."""

    def __init__(self, path: Path, keep: int) -> None:
        self.path = path
        self._keep = keep
        self._lock = threading.Lock()
        with _errors(path):
            self._connection = _writer(path)
        self._identity = _identity(path)

    @property
    def replaced(self) -> bool:
        """Whether the file was removed or replaced since it was opened."""
        return _identity(self.path) != self._identity

    def record(
        self,
        windows: Collection[Window],
        *,
        sinks: Iterable[str] = (),
        taken: Mapping[tuple[str, Key], float] | None = None,
        fence: Callable[[], bool] = lambda: True,
    ) -> None:
        """Store windows, open a delivery of each to `sinks`, and close those that `taken` times.

        Storing a window again changes nothing, unless its revision is higher: then it replaces the
        lower one, and its deliveries are open again. `fence` is asked inside the transaction, so a
        leader that lost its lease while it waited writes nothing.
        """
        taken = taken or {}
        with self._transaction(fence) as connection:
            for window in windows:
                if connection.execute(
                    f"INSERT INTO windows VALUES ({_VALUES}) ON CONFLICT DO UPDATE "  # noqa: S608
                    f"SET {_REPLACED} WHERE excluded.revision > revision RETURNING 1",
                    {name: getattr(window, name) for name in _COLUMNS},
                ).fetchone():
                    connection.executemany(
                        "INSERT INTO deliveries VALUES (?, ?, ?, NULL) "
                        "ON CONFLICT DO UPDATE SET taken_at = NULL",
                        [(sink, *window.key) for sink in sinks],
                    )
            _close_deliveries(connection, taken)
            self._expire(connection)

    def undelivered(self, sink: str, limit: int = 1_440) -> list[Window]:
        """The windows that `sink` has not taken, oldest first."""
        with self._lock, _errors(self.path):
            found = self._connection.execute(
                f"{_SELECT} JOIN deliveries d USING (window_start, window_seconds) "
                "WHERE d.sink = ? AND d.taken_at IS NULL "
                "ORDER BY d.window_start, d.window_seconds LIMIT ?",
                (sink, limit),
            )
            return [_window(row) for row in found]

    def mark(
        self,
        sink: str,
        keys: Iterable[Key],
        taken_at: float,
        *,
        fence: Callable[[], bool] = lambda: True,
    ) -> None:
        """Note that `sink` took these windows at `taken_at` (seconds since the epoch)."""
        with self._transaction(fence) as connection:
            _close_deliveries(connection, {(sink, key): taken_at for key in keys})

    def taken_at(self, sink: str, key: Key) -> float | None:
        """When `sink` took this window, or None."""
        with self._lock, _errors(self.path):
            found = self._connection.execute(
                "SELECT taken_at FROM deliveries "
                "WHERE (sink, window_start, window_seconds) = (?, ?, ?)",
                (sink, *key),
            ).fetchone()
            return None if found is None else found[0]

    def close(self) -> None:
        """Close the connection."""
        with self._lock, contextlib.suppress(sqlite3.Error):
            self._connection.close()

    @contextlib.contextmanager
    def _transaction(self, fence: Callable[[], bool]) -> Iterator[sqlite3.Connection]:
        with self._lock, _errors(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                # The lease may have passed on while this process waited for the lock, or while it
                # was stopped inside the transaction.
                self._pass(fence)
                yield self._connection
                self._pass(fence)
                self._connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise

    def _pass(self, fence: Callable[[], bool]) -> None:
        if not fence():
            raise LedgerError(LedgerTrouble.DEPOSED, "the lease passed on", self.path)

    def _expire(self, connection: sqlite3.Connection) -> None:
        """Drop what is older than `VERVE_KEEP`, counted from the newest window."""
        newest = connection.execute("SELECT max(window_start) FROM windows").fetchone()[0]
        for table, key in (("windows", _KEY), ("deliveries", f"{_KEY}, sink")):
            connection.execute(
                f"DELETE FROM {table} WHERE ({key}) IN "  # noqa: S608 - both are ours
                f"(SELECT {key} FROM {table} WHERE window_start < ? LIMIT {_EXPIRE_AT_ONCE})",
                ((newest or 0) - self._keep,),
            )


def open_ledger(settings: Settings) -> Ledger:
    """Open the ledger for writing and make it if need be. Raises `LedgerError`."""
    return Ledger(path_of(settings), settings.keep)


def set_aside(path: Path) -> Path:
    """Rename a damaged ledger, so that a new one can be made, and tell its new name."""
    kept = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(kept.with_name(kept.name + suffix))
    return kept


def _close_deliveries(
    connection: sqlite3.Connection, taken: Mapping[tuple[str, Key], float]
) -> None:
    connection.executemany(
        "UPDATE deliveries SET taken_at = ? "
        "WHERE window_start = ? AND window_seconds = ? AND sink = ? AND taken_at IS NULL",
        [(at, *key, sink) for (sink, key), at in taken.items()],
    )


def _window(row: tuple[int, ...]) -> Window:
    values: dict[str, Any] = dict(zip(_COLUMNS, row, strict=True))
    values["gap"], values["degraded"] = bool(values["gap"]), bool(values["degraded"])
    return Window(**values)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _reader(path: Path) -> sqlite3.Connection:
    address = f"file:{quote(str(path))}?mode=ro"
    return sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS, isolation_level=None)


def _writer(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # SQLite gives the files beside the database the mode of the database itself.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
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
        _check_pages(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


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


_TROUBLES = {
    sqlite3.SQLITE_BUSY: LedgerTrouble.LOCKED,
    sqlite3.SQLITE_LOCKED: LedgerTrouble.LOCKED,
    sqlite3.SQLITE_FULL: LedgerTrouble.FULL,
    # What a full disk looks like when the index of the write-ahead log has to grow.
    sqlite3.SQLITE_IOERR_SHMSIZE: LedgerTrouble.FULL,
    sqlite3.SQLITE_CORRUPT: LedgerTrouble.DAMAGED,
    sqlite3.SQLITE_NOTADB: LedgerTrouble.DAMAGED,
}


@contextlib.contextmanager
def _errors(path: Path) -> Iterator[None]:
    """Map what SQLite and the file system raise to `LedgerError`."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0)
        trouble = _TROUBLES.get(code) or _TROUBLES.get(code & 0xFF, LedgerTrouble.BROKEN)
        raise LedgerError(trouble, str(error), path) from error
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        trouble = LedgerTrouble.FULL if full else LedgerTrouble.BROKEN
        raise LedgerError(trouble, error.strerror or str(error), path) from error
