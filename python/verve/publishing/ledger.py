"""The ledger: every closed window of this host, for a year, in SQLite.

It is also the outbox. When a window is recorded, one delivery is opened for each sink; a delivery
is closed when its sink has taken the window. So a sink that is switched on today starts with the
next window and not with last year's.

Writing takes one connection, held by the leader. Reading opens the file for each question, so any
worker and the command line may read at any time. Nothing here waits longer than `BUSY_SECONDS`.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import threading
import time
from dataclasses import fields
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from verve.window import Key, Window

from .ledger_errors import LedgerError, LedgerTrouble, mapped

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    from verve.config import Settings

__all__ = [
    "Backlog",
    "Ledger",
    "LedgerError",
    "LedgerTrouble",
    "backlog",
    "open_ledger",
    "path_of",
    "rows",
    "set_aside",
    "undelivered",
]

BUSY_SECONDS = 0.25
SCHEMA_VERSION = 1
FILE_NAME = "ledger.sqlite3"
# Of two that write in one process the second would fail after `BUSY_SECONDS`; here it waits.
_LOCK = threading.Lock()
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
_BETWEEN = "w.window_start >= :since AND w.window_start < :until"
_NEWEST_FIRST = "ORDER BY w.window_start DESC, w.window_seconds DESC LIMIT :limit"

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


class Backlog(NamedTuple):
    """What a sink has not taken: how many windows, of how many seconds, since which start."""

    windows: int
    seconds: int
    oldest: int | None


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
    with reading(path) as connection:
        if connection is None:
            return []
        found = connection.execute(
            f"{_SELECT} WHERE {_BETWEEN} {_NEWEST_FIRST}", _bounds(limit, since, until)
        )
        return [_window(row) for row in found]


def undelivered(
    path: Path,
    limit: int | None = None,
    since: int | None = None,
    until: int | None = None,
) -> list[tuple[Window, tuple[str, ...]]]:
    """The windows of `rows` that some sink has not taken, with the names of those sinks."""
    with reading(path) as connection:
        if connection is None:
            return []
        found = connection.execute(
            f"SELECT {_QUALIFIED}, group_concat(d.sink) FROM windows w "  # noqa: S608 - ours
            "JOIN deliveries d USING (window_start, window_seconds) "
            f"WHERE d.taken_at IS NULL AND {_BETWEEN} "
            f"GROUP BY w.window_start, w.window_seconds {_NEWEST_FIRST}",
            _bounds(limit, since, until),
        )
        return [(_window(row[:-1]), tuple(sorted(row[-1].split(",")))) for row in found]


def backlog(path: Path, sink: str) -> Backlog:
    """How much `sink` has not taken of what the ledger holds."""
    with reading(path) as connection:
        if connection is None:
            return Backlog(0, 0, None)
        found = connection.execute(
            "SELECT count(*), coalesce(sum(window_seconds), 0), min(window_start) "
            "FROM deliveries WHERE sink = ? AND taken_at IS NULL",
            (sink,),
        )
        return Backlog(*found.fetchone())


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection | None]:
    """A connection that reads, or None while there is no ledger yet. Raises `LedgerError`."""
    with mapped(path):
        if not path.exists():
            yield None
            return
        with contextlib.closing(_reader(path)) as connection:
            # Version 0: it is being made right now.
            yield connection if _check_version(connection, path) else None


class Ledger:
    """The one connection that writes, made by `open_ledger`. Any thread may call its methods."""

    def __init__(self, path: Path, keep: int) -> None:
        self.path = path
        self._keep = keep
        with _LOCK, mapped(path):
            self._connection = _writer(path)
        self._identity = _identity(path)

    @property
    def replaced(self) -> bool:
        """Whether the file was removed or replaced since it was opened, or while it was."""
        return self._identity is None or _identity(self.path) != self._identity

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
                        "INSERT INTO deliveries (window_start, window_seconds, sink) "
                        "VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET taken_at = NULL",
                        [(*window.key, sink) for sink in sinks],
                    )
            _close_deliveries(connection, taken)
            self._expire(connection)

    def undelivered(self, sink: str, limit: int = 1_440) -> list[Window]:
        """The windows that `sink` has not taken, oldest first."""
        with _LOCK, mapped(self.path):
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

    def deliver(
        self, sink: str, window: Window, taken_at: float, *, fence: Callable[[], bool]
    ) -> None:
        """Note that `sink` took this revision of a window; a higher one stays to be delivered."""
        with self._transaction(fence) as connection:
            connection.execute(
                "UPDATE deliveries SET taken_at = ? WHERE sink = ? AND taken_at IS NULL "
                "AND (window_start, window_seconds) IN (SELECT window_start, window_seconds "
                "FROM windows WHERE (window_start, window_seconds, revision) = (?, ?, ?))",
                (taken_at, sink, *window.key, window.revision),
            )

    def reopen(self, sink: str, since: int, until: int) -> int:
        """Have `sink` take the windows that start in `since..until` again; how many there are."""
        with self._transaction(lambda: True) as connection:
            return connection.execute(
                "INSERT INTO deliveries (window_start, window_seconds, sink) "
                "SELECT window_start, window_seconds, ? FROM windows "
                "WHERE window_start >= ? AND window_start < ? "
                "ON CONFLICT DO UPDATE SET taken_at = NULL",
                (sink, since, until),
            ).rowcount

    def taken_at(self, sink: str, key: Key) -> float | None:
        """When `sink` took this window, or None."""
        with _LOCK, mapped(self.path):
            found = self._connection.execute(
                "SELECT taken_at FROM deliveries "
                "WHERE (sink, window_start, window_seconds) = (?, ?, ?)",
                (sink, *key),
            ).fetchone()
            return None if found is None else found[0]

    def close(self) -> None:
        """Close the connection."""
        with _LOCK, contextlib.suppress(sqlite3.Error):
            self._connection.close()

    @contextlib.contextmanager
    def _transaction(self, fence: Callable[[], bool]) -> Iterator[sqlite3.Connection]:
        with _LOCK, mapped(self.path):
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


def _bounds(limit: int | None, since: int | None, until: int | None) -> dict[str, int]:
    return {
        "since": -(2**63) if since is None else since,
        "until": 2**63 - 1 if until is None else until,
        "limit": -1 if limit is None else limit,
    }


def _window(row: tuple[int, ...]) -> Window:
    values: dict[str, Any] = dict(zip(_COLUMNS, row, strict=True))
    values["gap"], values["degraded"] = bool(values["gap"]), bool(values["degraded"])
    return Window(**values)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None


def _reader(path: Path) -> sqlite3.Connection:
    address = f"file:{quote(str(path))}?mode=ro"
    return sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS, isolation_level=None)


def _writer(path: Path) -> sqlite3.Connection:
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
