"""How long the ledger keeps a window: `VERVE_KEEP`, and longer while a sink has not taken it.

What a sink has not taken stays up to a bound, `longest`, beyond which it is dropped and counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection

WAITING_TIMES = 10
"""How many times as long as others a window stays that a sink has not taken."""
LEAST_WAITING_SECONDS = 30 * 86_400
"""It stays so long in any case, however short `VERVE_KEEP` is."""
# Deleting a year in one transaction would hold the lock for long after `VERVE_KEEP` was lowered.
_AT_ONCE = 5_000

TABLE = """
CREATE TABLE IF NOT EXISTS dropped (
    sink TEXT NOT NULL PRIMARY KEY,
    number INTEGER NOT NULL
) WITHOUT ROWID
"""
_WAITING = (
    "FROM deliveries d JOIN windows w USING (window_start, window_seconds) "
    "WHERE d.sink = ? AND d.taken_at IS NULL AND typeof(d.window_start) = 'integer'"
)


class Dropped(NamedTuple):
    """Windows that were dropped before `sink` took them: how many, and the start of the first."""

    sink: str
    windows: int
    first: int


def longest(keep: int) -> int:
    """Seconds after which a window is dropped that a sink has not taken."""
    return max(WAITING_TIMES * keep, LEAST_WAITING_SECONDS)


def expire(
    connection: sqlite3.Connection, keep: int, sinks: Collection[str], now: int
) -> list[Dropped]:
    """Drop windows older than `keep` seconds at `now`, from the oldest on, a few thousand at once.

    All stay from the oldest one on that one of `sinks` waits for, until that is of the age
    `longest`. `now` is the time, not the start of the newest window: one of those may be wrong.
    """
    oldest = [
        start
        for sink in sinks
        for (start,) in connection.execute(
            f"SELECT d.window_start {_WAITING} ORDER BY d.window_start, d.window_seconds LIMIT 1",
            (sink,),
        )
    ]
    end = max(now - longest(keep), min([now - keep, *oldest]))
    found = connection.execute(
        "SELECT window_start FROM windows WHERE window_start < ? "
        "ORDER BY window_start LIMIT 1 OFFSET ?",
        (end, _AT_ONCE - 1),
    ).fetchone()
    last = end - 1 if found is None else found[0]
    lost = [
        Dropped(sink, windows, first)
        for sink in sinks
        for windows, first in connection.execute(
            f"SELECT count(*), min(d.window_start) {_WAITING} AND d.window_start <= ?",
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
    """How many were dropped of each sink, over all time. Most ledgers have no such table."""
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
