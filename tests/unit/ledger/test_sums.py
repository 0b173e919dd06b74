from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from tests.support import rig
from verve.ledger import ledger
from verve.ledger.changes import changes
from verve.ledger.ledger import Ledger
from verve.log import skipped

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from verve.windows.window import Window

YEAR = 365 * 86_400
RARE = 0x12345678
GOOD = [rig.window(0, 5), rig.window(2, 7)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A closed ledger with three minutes; the second one has the count `RARE`."""
    path = tmp_path / ledger.FILE_NAME
    with closing(Ledger(path, YEAR)) as opened:
        opened.record([GOOD[0], rig.window(1, RARE), GOOD[1]], sinks=["kafka"])
    return path


def _connected(path: Path) -> sqlite3.Connection:
    """As an earlier Verve connects: it knows nothing of sums."""
    return sqlite3.connect(path, isolation_level=None)


def _all_read(path: Path) -> list[Sequence[Window]]:
    """What each reader of rows reads, oldest first."""
    changed = changes(path, None, 0, 10)
    assert changed is not None
    with closing(Ledger(path, YEAR)) as opened:
        return [
            ledger.rows(path)[::-1],
            [window for window, _ in ledger.undelivered(path)][::-1],
            opened.undelivered("kafka"),
            [change.window for change in changed.changes],
        ]


@pytest.mark.parametrize("bit", range(32))
def test_no_reader_takes_a_changed_count(path: Path, bit: int) -> None:
    content = path.read_bytes()
    written, changed = RARE.to_bytes(4, "big"), (RARE ^ 1 << bit).to_bytes(4, "big")
    assert content.count(written) == 1
    path.write_bytes(content.replace(written, changed))
    with mock.patch.object(skipped, "tell") as tell:
        assert _all_read(path) == [GOOD] * 4
    assert [one.args[:2] for one in tell.call_args_list] == [
        ("the ledger", (rig.MINUTE + 60, 60))
    ] * 4


def test_a_higher_revision_puts_a_changed_row_right(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content.replace(RARE.to_bytes(4, "big"), b"\0\0\0\7"))
    assert ledger.rows(path)[::-1] == GOOD
    right = rig.window(1, RARE, revision=2)
    with closing(Ledger(path, YEAR)) as opened:
        opened.record([right])
    assert ledger.rows(path)[::-1] == [GOOD[0], right, GOOD[1]]


def test_an_earlier_verve_writes_the_sums_too(path: Path) -> None:
    with closing(_connected(path)) as earlier:
        earlier.execute("UPDATE windows SET revision = 4 WHERE window_start = ?", (rig.MINUTE,))
        earlier.execute("DELETE FROM windows WHERE window_start = ?", (rig.MINUTE + 60,))
        earlier.execute(
            "INSERT INTO windows SELECT window_start + 120, window_seconds, 9, requests, "
            "duplicates, late, rejected, gap, degraded, revision, NULL FROM windows "
            "WHERE window_start = ?",
            (rig.MINUTE + 120,),
        )
        sums = earlier.execute("SELECT count(*) FROM sums").fetchone()
    assert [(w.unique, w.revision) for w in ledger.rows(path)] == [(9, 1), (7, 1), (5, 4)]
    assert sums == (3,)


def test_a_ledger_without_sums_is_read_and_gets_them(path: Path) -> None:
    before = ledger.rows(path)
    with closing(_connected(path)) as earlier:
        for trigger in ("window_summed", "window_summed_again", "window_unsummed"):
            earlier.execute(f"DROP TRIGGER {trigger}")
        earlier.execute("DROP TABLE sums")
        assert ledger.rows(path) == before
        Ledger(path, YEAR).close()
        assert ledger.rows(path) == before
        assert earlier.execute("SELECT count(*) FROM sums").fetchone() == (3,)


@pytest.mark.parametrize("figure", [0, 1, 2**31 - 2, 2**31 - 1, 2**31, 2**62, 2**63 - 1])
def test_figures_of_any_size_have_a_sum(path: Path, figure: int) -> None:
    large = rig.window(5, figure, requests=figure, rejected=figure, host_unique=figure)
    with closing(Ledger(path, YEAR)) as opened:
        opened.record([large])
    with closing(_connected(path)) as connection:
        sums = connection.execute("SELECT typeof(sum), sum FROM sums").fetchall()
    assert all(kind == "integer" and 0 <= value < 2**31 - 1 for kind, value in sums)
    assert ledger.rows(path, limit=1) == ([large] if large.is_sound else [])
