from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.support import rig
from verve.ledger import ledger
from verve.ledger.changes import changes
from verve.ledger.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

YEAR = 365 * 86_400
ALL = (None, 0, 100)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ledger.FILE_NAME


@pytest.fixture
def opened(path: Path) -> Iterator[Ledger]:
    with closing(Ledger(path, YEAR)) as opened:
        yield opened


def _seen(path: Path, known: str | None, after: int, most: int) -> list[tuple[int, int, bool]]:
    found = changes(path, known, after, most)
    assert found is not None
    return [(number, window.unique, replaces) for number, window, replaces in found.changes]


def test_there_is_none_without_a_ledger(path: Path) -> None:
    assert changes(path, *ALL) is None


def test_windows_and_revisions_have_rising_numbers(path: Path, opened: Ledger) -> None:
    first, second = rig.window(0, 5), rig.window(1, 7)
    opened.record([first, second], sinks=["log"])
    # One that is there already is no change.
    opened.record([first])
    assert _seen(path, *ALL) == [(1, 5, False), (2, 7, False)]
    opened.record([rig.window(0, 6, revision=2)])
    # The window's earlier change is gone: whoever follows needs the newest alone.
    assert _seen(path, *ALL) == [(2, 7, False), (3, 6, True)]
    found = changes(path, *ALL)
    assert found is not None
    assert (found.number, found.floor) == (3, 0)
    assert _seen(path, found.ledger, 2, 100) == [(3, 6, True)]
    assert _seen(path, found.ledger, 3, 100) == []
    # What is too long ago is said to be missing.
    newest = changes(path, found.ledger, 0, 1)
    assert newest is not None
    assert [one.number for one in newest.changes] == [3]
    assert newest.floor == 2
    # The number of a change says nothing of another ledger.
    assert _seen(path, "other", 3, 100) == [(2, 7, False), (3, 6, True)]


def test_numbers_go_on_after_windows_were_dropped(path: Path, opened: Ledger) -> None:
    opened.record([rig.window(0, 5)])
    opened.expire(rig.MINUTE + 2 * YEAR)
    assert ledger.rows(path) == []
    found = changes(path, *ALL)
    assert found is not None
    assert (found.number, found.changes) == (1, [])
    opened.record([rig.window(1, 6)])
    assert _seen(path, found.ledger, 1, 100) == [(2, 6, False)]


def test_a_ledger_keeps_its_id_and_another_has_another(path: Path, opened: Ledger) -> None:
    found = changes(path, *ALL)
    Ledger(path, YEAR).close()
    again = changes(path, *ALL)
    other = path.with_name("other")
    Ledger(other, YEAR).close()
    assert found == again != changes(other, *ALL)
    assert opened.replaced is False


def test_a_ledger_of_an_earlier_verve_gets_them(path: Path, opened: Ledger) -> None:
    opened.record([rig.window(0, 5)])
    with closing(sqlite3.connect(path)) as connection:
        for name in ("recorded", "replaced", "dropped"):
            connection.execute(f"DROP TRIGGER window_{name}")
        connection.execute("DROP TABLE changes")
        connection.execute("DROP TABLE ledger_id")
    assert changes(path, *ALL) is None
    with closing(Ledger(path, YEAR)) as upgraded:
        assert _seen(path, *ALL) == []
        upgraded.record([rig.window(1, 6)])
    assert _seen(path, *ALL) == [(1, 6, False)]
    # That Verve writes on, and knows of no changes: the triggers are of the file.
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute('UPDATE windows SET "unique" = 8 WHERE "unique" = 5')
    assert _seen(path, *ALL) == [(1, 6, False), (2, 8, True)]
