"""A checksum per window: SQLite does not notice when a byte of a row has changed on the disk.

The sums are an addition to the tables, as the changes are: triggers write them, so an earlier Verve
writes them too. They are of SQL alone, since its connections know no function of ours.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from verve.windows.window import Window

if TYPE_CHECKING:
    import sqlite3

COLUMNS = tuple(column.name for column in fields(Window))
"""The columns of a window, in their order."""
# A polynomial over the field of this prime: one changed bit of one column always changes it, and
# all terms fit into 64 bits.
_PRIME = 2**31 - 1
_BASE = 1_103_515_245


def _sum(row: str) -> str:
    """The checksum of the window `row`, as SQL."""
    total = "1"
    for name in COLUMNS:
        total = f'(({total} * {_BASE} + coalesce({row}."{name}", -1) % {_PRIME}) % {_PRIME})'
    return total


IS_INTACT = (
    "(SELECT s.sum FROM sums s WHERE (s.window_start, s.window_seconds) = "  # noqa: S608 - ours
    f"(w.window_start, w.window_seconds)) IS {_sum('w')}"
)
"""Whether a row of `w` is as it was written, as SQL."""
COLUMNS_OF_W = ", ".join([*(f'w."{name}"' for name in COLUMNS), IS_INTACT])
"""The columns of a window of `w`, and whether the row is intact."""

_TABLES = f"""
CREATE TABLE sums (
    window_start INTEGER NOT NULL,
    window_seconds INTEGER NOT NULL,
    sum INTEGER NOT NULL,
    PRIMARY KEY (window_start, window_seconds)
) WITHOUT ROWID;;
INSERT INTO sums SELECT window_start, window_seconds, {_sum("w")} FROM windows w;;
CREATE TRIGGER window_summed AFTER INSERT ON windows BEGIN
    INSERT OR REPLACE INTO sums VALUES (new.window_start, new.window_seconds, {_sum("new")});
END;;
CREATE TRIGGER window_summed_again AFTER UPDATE ON windows BEGIN
    DELETE FROM sums WHERE (window_start, window_seconds) = (old.window_start, old.window_seconds);
    INSERT OR REPLACE INTO sums VALUES (new.window_start, new.window_seconds, {_sum("new")});
END;;
CREATE TRIGGER window_unsummed AFTER DELETE ON windows BEGIN
    DELETE FROM sums WHERE (window_start, window_seconds) = (old.window_start, old.window_seconds);
END
"""  # noqa: S608 - ours
# Shows a ledger without sums as one whose rows are all intact.
_NONE_YET = (
    "CREATE TEMP VIEW sums AS "  # noqa: S608 - ours
    f"SELECT window_start, window_seconds, {_sum('w')} AS sum FROM windows w"
)


def has_sums(connection: sqlite3.Connection) -> bool:
    """Whether the ledger has the table: any that this Verve has written does."""
    known = "SELECT 1 FROM main.sqlite_master WHERE type = 'table' AND name = 'sums'"
    return connection.execute(known).fetchone() is not None


def make(connection: sqlite3.Connection) -> None:
    """Add the sums to a ledger that has none."""
    if has_sums(connection):
        return
    connection.execute("BEGIN IMMEDIATE")
    if not has_sums(connection):
        for statement in _TABLES.split(";;"):
            connection.execute(statement)
    connection.execute("COMMIT")


def assume(connection: sqlite3.Connection) -> None:
    """Let a connection that reads take the rows of a ledger without sums as they are."""
    if not has_sums(connection):
        connection.execute(_NONE_YET)
