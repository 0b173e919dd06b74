"""Drops old windows: after `VERVE_KEEP`, and later while a sink has not taken them.

After `longest` a window is dropped in any case; those that a sink had not taken are counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection

UNDELIVERED_FACTOR = 10
"""A window that a sink has not taken stays this many times `VERVE_KEEP`."""
LEAST_UNDELIVERED_SECONDS = 30 * 86_400
"""Seconds that such a window stays at least, however short `VERVE_KEEP` is."""
# After `VERVE_KEEP` was lowered, deleting a year in one transaction would hold the lock for long.
_BATCH = 5_000

TABLE = """
CREATE TABLE IF NOT EXISTS dropped (
    sink TEXT NOT NULL PRIMARY KEY,
    number INTEGER NOT NULL
) WITHOUT ROWID
"""
_UNDELIVERED = (
    "FROM deliveries d JOIN windows w USING (window_start, window_seconds) "
    "WHERE d.sink = ? AND d.taken_at IS NULL AND typeof(d.window_start) = 'integer'"
)


class Dropped(NamedTuple):
    """Windows that were dropped before `sink` took them: their number, and the first start."""

    sink: str
    windows: int
    first: int


def longest(keep: int) -> int:
    """Return the seconds after which a window is dropped even if a sink has not taken it."""
    return max(UNDELIVERED_FACTOR * keep, LEAST_UNDELIVERED_SECONDS)


def expire(
    connection: sqlite3.Connection, keep: int, sinks: Collection[str], now: int
) -> list[Dropped]:
    """Drop windows older than `keep` seconds at `now`, oldest first, at most `_BATCH` per call.

    The oldest window that one of `sinks` has not taken, and all after it, stay until it is older
    than `longest`. `now` is the time, since the start of the newest window may be wrong. Returns
    the dropped windows that a sink had not taken.
    """
    oldest = [
        start
        for sink in sinks
        for (start,) in connection.execute(
            f"SELECT d.window_start {_UNDELIVERED} "
            "ORDER BY d.window_start, d.window_seconds LIMIT 1",
            (sink,),
        )
    ]
    end = max(now - longest(keep), min([now - keep, *oldest]))
    found = connection.execute(
        "SELECT window_start FROM windows WHERE window_start < ? "
        "ORDER BY window_start LIMIT 1 OFFSET ?",
        (end, _BATCH - 1),
    ).fetchone()
    last = end - 1 if found is None else found[0]
    lost = [
        Dropped(sink, windows, first)
        for sink in sinks
        for windows, first in connection.execute(
            f"SELECT count(*), min(d.window_start) {_UNDELIVERED} AND d.window_start <= ?",
            (sink, last),
        )
        if windows
    ]
    for table in ("windows", "deliveries"):
        connection.execute(f"DELETE FROM {table} WHERE window_start <= ?", (last,))  # noqa: S608
    if lost:
        _count(connection, lost)
    return lost


def dropped(connection: sqlite3.Connection) -> dict[str, int]:
    """Return the number of dropped windows per sink, over all time. Most ledgers have no table."""
    known = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'dropped'"
    if connection.execute(known).fetchone() is None:
        return {}
    return dict(connection.execute("SELECT sink, number FROM dropped").fetchall())


def _count(connection: sqlite3.Connection, lost: Collection[Dropped]) -> None:
    connection.execute(TABLE)
    connection.executemany(
        "INSERT INTO dropped VALUES (?, ?) "
        "ON CONFLICT (sink) DO UPDATE SET number = number + excluded.number",
        [(sink, windows) for sink, windows, _ in lost],
    )
