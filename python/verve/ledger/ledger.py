"""The ledger: every sealed window of this host, for a year, in SQLite.

It is also the outbox. To record a window opens one delivery per sink; a delivery is closed when
its sink took the window. So a sink that is switched on today starts with the next window, and not
with last year's. `expiry` says how long a window stays.

The leader holds the one connection that writes. Each read opens the file, so any worker and the
command line may read at any time. Nothing here waits longer than `BUSY_SECONDS`.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from verve.log import skipped
from verve.windows.window import Key, Window

from . import expiry
from .errors import LedgerError, LedgerFailure, mapped
from .schema import BUSY_SECONDS, SCHEMA_VERSION, identity_of, open_for_writing, reading
from .sums import COLUMNS, COLUMNS_OF_W

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    from verve.config import Settings

    from .expiry import Dropped

__all__ = [
    "BUSY_SECONDS",
    "QUALIFIED",
    "SCHEMA_VERSION",
    "Backlog",
    "Ledger",
    "LedgerError",
    "LedgerFailure",
    "Receipt",
    "backlog",
    "dropped",
    "has_taken",
    "open_ledger",
    "path_of",
    "reading",
    "rows",
    "set_aside",
    "undelivered",
    "windows_of",
]

FILE_NAME = "ledger.sqlite3"
# Two threads of this process may write: without it the second would fail after `BUSY_SECONDS`.
_LOCK = threading.Lock()

_KEY = ", ".join(Key._fields)
_VALUES = ", ".join(f":{name}" for name in COLUMNS)
# `unique` is a word of SQL too.
_REPLACED = ", ".join(
    f'"{name}" = excluded."{name}"' for name in COLUMNS if name not in Key._fields
)
# The first revision of a cluster replaces the record of a host that counted alone before.
_IS_NEWER = (
    "(excluded.revision, excluded.host_unique IS NOT NULL) > (revision, host_unique IS NOT NULL)"
)
QUALIFIED = COLUMNS_OF_W
"""The columns that `windows_of` reads, of a table `w`."""
_SELECT = f"SELECT {QUALIFIED} FROM windows w"  # noqa: S608 - the names are ours
_BETWEEN = "w.window_start >= :since AND w.window_start < :until"
_NEWEST_FIRST = "ORDER BY w.window_start DESC, w.window_seconds DESC LIMIT :limit"


class Backlog(NamedTuple):
    """The windows that a sink has not taken: their number, their seconds, the oldest start."""

    windows: int
    seconds: int
    oldest: int | None


class Receipt(NamedTuple):
    """When a sink took a window (seconds since the epoch), and which revision."""

    taken_at: float
    revision: int


def path_of(settings: Settings) -> Path:
    """Return the path of the ledger."""
    return settings.state_dir / FILE_NAME


def rows(
    path: Path,
    limit: int | None = None,
    since: int | None = None,
    until: int | None = None,
) -> list[Window]:
    """Return the windows that start in `since..until` (seconds since the epoch), newest first.

    Empty while there is no ledger.
    """
    with reading(path) as connection:
        if connection is None:
            return []
        found = connection.execute(
            f"{_SELECT} WHERE {_BETWEEN} {_NEWEST_FIRST}", _bounds(limit, since, until)
        )
        return windows_of(found)


def undelivered(
    path: Path,
    limit: int | None = None,
    since: int | None = None,
    until: int | None = None,
) -> list[tuple[Window, tuple[str, ...]]]:
    """Return the windows of `rows` that a sink has not taken, with the names of those sinks."""
    with reading(path) as connection:
        if connection is None:
            return []
        found = connection.execute(
            f"SELECT {QUALIFIED}, group_concat(d.sink) FROM windows w "  # noqa: S608 - ours
            "JOIN deliveries d USING (window_start, window_seconds) "
            f"WHERE d.taken_at IS NULL AND {_BETWEEN} "
            f"GROUP BY w.window_start, w.window_seconds {_NEWEST_FIRST}",
            _bounds(limit, since, until),
        )
        return [
            (window, tuple(sorted((row[-1] or "").split(","))))
            for row in found
            for window in windows_of([row[:-1]])
        ]


def backlog(path: Path, sink: str) -> Backlog:
    """Return the windows of the ledger that `sink` has not taken."""
    with reading(path) as connection:
        if connection is None:
            return Backlog(0, 0, None)
        found = connection.execute(
            "SELECT count(*), CAST(total(window_seconds) AS INTEGER), min(window_start) "
            "FROM deliveries WHERE sink = ? AND taken_at IS NULL",
            (sink,),
        )
        return Backlog(*found.fetchone())


def has_taken(path: Path, sink: str, key: Key, revision: int) -> bool:
    """Whether `sink` took this revision of a window, or a higher one."""
    with reading(path) as connection:
        if connection is None:
            return False
        found = connection.execute(
            "SELECT 1 FROM deliveries JOIN windows USING (window_start, window_seconds) "
            "WHERE sink = ? AND taken_at IS NOT NULL AND revision >= ? "
            "AND (window_start, window_seconds) = (?, ?)",
            (sink, revision, *key),
        )
        return found.fetchone() is not None


def dropped(path: Path) -> dict[str, int]:
    """Return the number of windows dropped before a sink took them, per sink, over all time."""
    with reading(path) as connection:
        return {} if connection is None else expiry.dropped(connection)


class Ledger:
    """The one connection that writes, made by `open_ledger`. Any thread may call its methods."""

    def __init__(self, path: Path, keep: int, sinks: Collection[str] = ()) -> None:
        """`keep`: seconds that a window stays; it stays longer while one of `sinks` lacks it."""
        self.path = path
        self._keep = keep
        self._sinks = tuple(sinks)
        with _LOCK, mapped(path):
            self._connection = open_for_writing(path)
        self._identity = identity_of(path)

    @property
    def replaced(self) -> bool:
        """Whether the file was removed or replaced since it was opened."""
        return self._identity is None or identity_of(self.path) != self._identity

    def record(
        self,
        windows: Collection[Window],
        *,
        sinks: Iterable[str] | Callable[[Window], Iterable[str]] = (),
        taken: Mapping[tuple[str, Key], Receipt] | None = None,
        fence: Callable[[], bool] = lambda: True,
    ) -> None:
        """Store windows, open a delivery of each per sink, and close the deliveries in `taken`.

        A window that is stored already is replaced only by a higher revision, or by a cluster's
        record of a host that counted alone; then its deliveries are opened again. If `sinks` is a
        function, a sink that it names later gets the stored revision. A receipt of a lower revision
        does not close the delivery of a higher one. `fence` is called inside the transaction, so a
        leader that lost its lease while it waited writes nothing.
        """
        taken = taken or {}
        with self._transaction(fence) as connection:
            for window in windows:
                stored = connection.execute(
                    f"INSERT INTO windows VALUES ({_VALUES}) "  # noqa: S608 - the names are ours
                    f"ON CONFLICT ({_KEY}) DO UPDATE SET {_REPLACED} WHERE {_IS_NEWER}",
                    {name: getattr(window, name) for name in COLUMNS},
                )
                is_newer = stored.rowcount > 0
                if is_newer:
                    # Also for sinks that get this revision from another host: if that host dies,
                    # this one delivers, although it delivered the lower revision.
                    connection.execute(
                        "DELETE FROM deliveries WHERE taken_at IS NOT NULL "
                        "AND (window_start, window_seconds) = (?, ?)",
                        window.key,
                    )
                if is_newer or callable(sinks):
                    its = sinks(window) if callable(sinks) else sinks
                    connection.executemany(
                        "INSERT INTO deliveries (window_start, window_seconds, sink) "
                        "SELECT window_start, window_seconds, ? FROM windows WHERE "
                        "(window_start, window_seconds, revision) = (?, ?, ?) "
                        "ON CONFLICT DO NOTHING",
                        [(sink, *window.key, window.revision) for sink in its],
                    )
            _close_deliveries(connection, taken)

    def expire(self, now: int, *, fence: Callable[[], bool] = lambda: True) -> list[Dropped]:
        """Drop what is too old at `now` (epoch seconds); return what a sink had not taken."""
        with self._transaction(fence) as connection:
            return expiry.expire(connection, self._keep, self._sinks, now)

    def undelivered(self, sink: str, limit: int = 1_440) -> list[Window]:
        """Return the windows that `sink` has not taken, oldest first."""
        with _LOCK, mapped(self.path):
            found = self._connection.execute(
                f"{_SELECT} JOIN deliveries d USING (window_start, window_seconds) "
                "WHERE d.sink = ? AND d.taken_at IS NULL "
                "ORDER BY d.window_start, d.window_seconds LIMIT ?",
                (sink, limit),
            )
            return windows_of(found)

    def mark_taken(
        self, sink: str, window: Window, taken_at: float, *, fence: Callable[[], bool]
    ) -> None:
        """Note that `sink` took this revision of a window; a higher one stays undelivered."""
        with self._transaction(fence) as connection:
            connection.execute(
                "UPDATE deliveries SET taken_at = ? WHERE sink = ? AND taken_at IS NULL "
                "AND (window_start, window_seconds) IN (SELECT window_start, window_seconds "
                "FROM windows WHERE (window_start, window_seconds, revision) = (?, ?, ?))",
                (taken_at, sink, *window.key, window.revision),
            )

    def reopen(self, sink: str, since: int, until: int) -> int:
        """Deliver the windows that start in `since..until` to `sink` again; return their number."""
        with self._transaction(lambda: True) as connection:
            return connection.execute(
                "INSERT INTO deliveries (window_start, window_seconds, sink) "
                "SELECT window_start, window_seconds, ? FROM windows "
                "WHERE window_start >= ? AND window_start < ? AND revision > 0 "
                "ON CONFLICT (window_start, window_seconds, sink) DO UPDATE SET taken_at = NULL",
                (sink, since, until),
            ).rowcount

    def taken_at(self, sink: str, key: Key) -> float | None:
        """Return when `sink` took this window (epoch seconds), or None."""
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
                # The lease may be lost while this process waits for the lock, or while it is
                # stopped inside the transaction.
                self._check(fence)
                yield self._connection
                self._check(fence)
                self._connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise

    def _check(self, fence: Callable[[], bool]) -> None:
        if not fence():
            raise LedgerError(LedgerFailure.DEPOSED, "the lease passed on", self.path)


def open_ledger(settings: Settings) -> Ledger:
    """Open the ledger for writing; make it if it is missing. Raises `LedgerError`."""
    return Ledger(path_of(settings), settings.keep, settings.sinks)


def set_aside(path: Path) -> Path:
    """Rename a damaged ledger, so that a new one can be made; return its new path."""
    kept = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(kept.with_name(kept.name + suffix))
    return kept


def _close_deliveries(
    connection: sqlite3.Connection, taken: Mapping[tuple[str, Key], Receipt]
) -> None:
    connection.executemany(
        "UPDATE deliveries SET taken_at = ? WHERE taken_at IS NULL "
        "AND (sink, window_start, window_seconds) = (?, ?, ?) AND (SELECT revision FROM windows w "
        "WHERE (w.window_start, w.window_seconds) = (?, ?)) <= ?",
        [
            (taken_at, sink, *key, *key, revision)
            for (sink, key), (taken_at, revision) in taken.items()
        ],
    )


def _bounds(limit: int | None, since: int | None, until: int | None) -> dict[str, int]:
    return {
        "since": -(2**63) if since is None else since,
        "until": 2**63 - 1 if until is None else until,
        "limit": -1 if limit is None else limit,
    }


def windows_of(found: Iterable[tuple[Any, ...]]) -> list[Window]:
    """Return the windows of these rows, without those that are damaged, which are told of."""
    windows = []
    for *row, is_intact in found:
        values: dict[str, Any] = dict(zip(COLUMNS, row, strict=True))
        values["gap"], values["degraded"] = bool(values["gap"]), bool(values["degraded"])
        window = Window(**values)
        # SQLite stores any value.
        if is_intact and window.is_sound:
            windows.append(window)
        else:
            skipped.tell("the ledger", tuple(row[:2]), tuple(row[2:]))
    return windows
