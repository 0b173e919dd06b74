"""The changes of the ledger, in their order: windows it took, and windows it replaced.

A change has a number that only rises, and all processes of a host see the same numbers. Of each
window the ledger keeps the newest change alone: whoever follows needs no figures that were replaced
since. The tables are additions: an earlier Verve that writes this ledger keeps them too, because
triggers fill them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from .ledger import QUALIFIED, windows_of
from .schema import has_changes, reading

if TYPE_CHECKING:
    from pathlib import Path

    from verve.windows.window import Window


class Change(NamedTuple):
    """One change: its number, the window as it is now, and whether that replaced figures."""

    number: int
    window: Window
    replaces: bool


class Changes(NamedTuple):
    """The newest changes of a ledger, oldest first.

    `ledger` is the ledger's id and `number` that of its last change, or 0. The changes are complete
    from the one after `floor`.
    """

    ledger: str
    number: int
    floor: int
    changes: list[Change]


def changes(path: Path, ledger: str | None, after: int, most: int) -> Changes | None:
    """Return the changes after the number `after` of `ledger`, at most `most`, the newest.

    Of another ledger, all of its changes count. None while there is no ledger, or while an earlier
    Verve made it and nobody upgraded it yet. Raises `LedgerError`.
    """
    return _read(path, ledger, after, most, "DESC")


def next_changes(path: Path, ledger: str | None, after: int, most: int) -> Changes | None:
    """As `changes`, but the oldest: for a reader that wants each of them."""
    return _read(path, ledger, after, most, "ASC")


def _read(
    path: Path, ledger: str | None, after: int, most: int, order: Literal["ASC", "DESC"]
) -> Changes | None:
    with reading(path) as connection:
        if connection is None or not has_changes(connection):
            return None
        # One moment for all that is read.
        connection.execute("BEGIN")
        # Values that are damaged are none, or of another type.
        row = connection.execute("SELECT CAST(ledger AS TEXT) FROM ledger_id")
        (own,) = row.fetchone() or ("",)
        row = connection.execute(
            "SELECT coalesce(CAST(seq AS INTEGER), 0) FROM sqlite_sequence WHERE name = 'changes'"
        )
        (number,) = row.fetchone() or (0,)
        floor = after if own == ledger else 0
        found = connection.execute(
            f"SELECT {QUALIFIED}, c.number, c.replaces FROM windows w "  # noqa: S608 - ours
            "JOIN changes c USING (window_start, window_seconds) "
            f"WHERE c.number > ? ORDER BY c.number {order} LIMIT ?",
            (floor, most),
        ).fetchall()
        if order == "DESC":
            found.reverse()
            if len(found) == most:
                floor = found[0][-2] - 1
        return Changes(
            own,
            number,
            floor,
            [
                Change(row[-2], window, bool(row[-1]))
                for row in found
                for window in windows_of([row[:-2]])
            ],
        )
