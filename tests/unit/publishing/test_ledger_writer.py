from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.support import logged, rig
from verve.backoff import Backoff
from verve.clock import Clock
from verve.ledger import ledger
from verve.ledger.lock_holder import HolderWatch
from verve.publishing.lease import Cursor, Lease
from verve.publishing.ledger_writer import LedgerWriter
from verve.publishing.log_queue import LogQueue
from verve.publishing.sink_worker import SinkWorker
from verve.publishing.window_source import RingSource
from verve.sinks import Scope, SinkError
from verve.timestamps import rfc3339
from verve.windows.ring import windows_after

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from verve import Counter, ManualClock
    from verve.config import Settings
    from verve.windows.window import Window


class Paper:
    """A sink with the name `log` that fails while it is jammed."""

    name = "log"
    scope = Scope.HOST

    def __init__(self) -> None:
        self.lines: list[Window] = []
        self.jammed = False

    def take(self, window: Window) -> None:
        """Write it down."""
        if self.jammed:
            raise SinkError("jammed")
        self.lines.append(window)

    def interrupt(self) -> None:
        """It never waits."""

    def close(self) -> None:
        """Nothing is held."""


class Office:
    """One host: a counter with a clock that the test moves, and the parts of a leader's term."""

    def __init__(self, settings: Settings, clock: ManualClock) -> None:
        self.settings = settings
        self.clock = clock
        self.counter: Counter = rig.counter_of(settings, clock)
        self.paper = Paper()
        self.begin()

    def begin(self) -> None:
        """Begin a term, which knows only what segment and ledger hold."""
        self.counter.lease.release()
        term = self.counter.lease.acquire()
        assert term is not None
        self.lease = Lease(self.counter, term)
        path = ledger.path_of(self.settings)
        watch = HolderWatch(path, None)
        source = RingSource(self.counter, self.settings)
        queue = LogQueue(self.counter, source, self.lease, clock=Clock(wait_for=rig.no_wait))
        log = queue if "log" in self.settings.sinks else None
        self.ledger_writer = LedgerWriter(
            self.counter, source, self.settings, self.lease, log, watch
        )
        self.ledger_writer._backoff = Backoff(first=0.0, longest=0.0)
        self.worker = SinkWorker(self.paper, queue)
        self.worker._backoff = Backoff(first=0.0, longest=0.0)

    def minutes(self, *uniques: int) -> None:
        """Let one minute pass per element, with that many ids."""
        for unique in uniques:
            self.counter.add_many(range(unique))
            self.clock.advance(60)
            self.counter.maintenance.run()

    def rows(self) -> list[tuple[int, int]]:
        """The ledger, oldest first: number of the minute, and its ids."""
        return [_short(window) for window in ledger.rows(ledger.path_of(self.settings))][::-1]

    def lines(self) -> list[tuple[int, int]]:
        """The log: number of the minute, and its ids."""
        return [_short(window) for window in self.paper.lines]

    def lock(self) -> sqlite3.Connection:
        """Keep the ledger from being written until the connection is closed."""
        connection = sqlite3.connect(ledger.path_of(self.settings), isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        return connection

    def undelivered(self) -> list[tuple[int, int]]:
        """The windows that the log has not taken, by the ledger."""
        with closing(ledger.open_ledger(self.settings)) as opened:
            return [_short(window) for window in opened.undelivered("log")]


def _short(window: Window) -> tuple[int, int]:
    return (window.window_start - rig.MINUTE) // 60, window.unique


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office(rig.settings(tmp_path), rig.clock_in_minute())
    yield made
    made.ledger_writer.close()
    made.counter.close()


def test_the_ring_after_a_cursor(office: Office) -> None:
    assert windows_after(office.counter, 0) == []
    office.minutes(1, 2, 3)
    assert [_short(w) for w in windows_after(office.counter, 0)] == [(0, 1), (1, 2), (2, 3)]
    assert [_short(w) for w in windows_after(office.counter, rig.MINUTE)] == [(1, 2), (2, 3)]
    assert windows_after(office.counter, rig.MINUTE + 120) == []


def test_log_and_ledger_get_every_minute(office: Office) -> None:
    for uniques in ((3,), (0, 7), ()):
        office.minutes(*uniques)
        assert office.worker.step() is None
        assert office.ledger_writer.step() is None
    assert office.lines() == office.rows() == [(0, 3), (1, 0), (2, 7)]
    assert office.undelivered() == []
    assert office.counter.ring.cursor(Cursor.LOG) == rig.MINUTE + 120
    assert office.counter.ring.cursor(Cursor.LEDGER) == rig.MINUTE + 120


def test_the_row_says_when_the_log_took_it(office: Office) -> None:
    office.minutes(3)
    office.worker.step()
    office.ledger_writer.step()
    with closing(ledger.open_ledger(office.settings)) as opened:
        assert opened.taken_at("log", rig.window().key) is not None


def test_a_ledger_that_is_stuck_does_not_delay_the_log(office: Office) -> None:
    office.minutes(1)
    office.worker.step()
    office.ledger_writer.step()
    with closing(office.lock()):
        office.minutes(2, 3)
        assert office.ledger_writer.step() is not None
        office.worker.step()
        assert office.lines() == [(0, 1), (1, 2), (2, 3)]
        assert office.ledger_writer.step() is not None
        assert office.ledger_writer.attempts == 2
        assert office.ledger_writer.error is not None
        assert "locked" in office.ledger_writer.error
    assert office.ledger_writer.step() is None
    assert office.rows() == office.lines()
    assert office.undelivered() == []
    assert office.ledger_writer.attempts == 0


def test_a_full_ledger_catches_up(office: Office) -> None:
    office.minutes(1)
    office.worker.step()
    office.ledger_writer.step()
    assert office.ledger_writer._ledger is not None
    connection = office.ledger_writer._ledger._connection
    connection.execute("PRAGMA max_page_count = 1")
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    assert connection.execute("PRAGMA max_page_count").fetchone() == (pages,)
    for _ in range(5):
        office.minutes(*[1] * 250)
        office.worker.step()
        assert office.ledger_writer.step() is not None
        assert "full" in (office.ledger_writer.error or "")
    connection.execute("PRAGMA max_page_count = 100000")
    assert office.ledger_writer.step() is None
    assert len(office.lines()) == 1_251
    assert office.rows() == office.lines()


def test_a_log_that_is_stuck_does_not_delay_the_ledger(office: Office) -> None:
    office.paper.jammed = True
    office.minutes(1, 2)
    assert office.worker.step() is not None
    assert office.ledger_writer.step() is None
    assert office.rows() == [(0, 1), (1, 2)]
    assert office.undelivered() == [(0, 1), (1, 2)]
    office.paper.jammed = False
    office.worker.step()
    office.ledger_writer.step()
    assert office.lines() == [(0, 1), (1, 2)]
    assert office.undelivered() == []


def test_the_next_leader_goes_on_where_the_last_one_was(office: Office) -> None:
    office.minutes(1, 2)
    office.worker.step()  # and dies before the ledger knows of anything
    office.begin()
    office.minutes(3)
    office.ledger_writer.step()
    office.worker.step()
    office.ledger_writer.step()
    assert office.lines() == office.rows() == [(0, 1), (1, 2), (2, 3)]
    assert office.undelivered() == []


def test_a_deposed_leader_does_nothing(office: Office) -> None:
    office.minutes(1)
    ledger_writer, worker = office.ledger_writer, office.worker
    office.begin()
    assert worker.step() is None
    assert ledger_writer.step() is None
    assert office.lines() == office.rows() == []
    assert office.counter.ring.cursor(Cursor.LOG) == office.counter.ring.cursor(Cursor.LEDGER) == 0
    ledger_writer.close()


def test_what_the_log_missed_before_a_reboot_comes_first(tmp_path: Path) -> None:
    settings = rig.settings(tmp_path)
    clock = rig.clock_in_minute()
    before = Office(settings, clock)
    before.minutes(1)
    before.worker.step()
    before.ledger_writer.step()
    before.paper.jammed = True
    before.minutes(2, 3)
    before.worker.step()
    before.ledger_writer.step()
    before.ledger_writer.close()
    before.counter.close()
    settings.segment.unlink()

    after = Office(settings, clock)
    after.minutes(4)
    after.ledger_writer.step()
    after.worker.step()
    after.ledger_writer.step()
    assert after.lines() == [(1, 2), (2, 3), (3, 4)]
    assert after.rows() == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert after.undelivered() == []
    after.worker.step()
    assert len(after.lines()) == 3
    after.ledger_writer.close()
    after.counter.close()


def test_a_damaged_ledger_is_set_aside_and_filled_from_the_ring(office: Office) -> None:
    office.minutes(1, 2)
    office.worker.step()
    office.ledger_writer.step()
    office.ledger_writer.close()
    path = ledger.path_of(office.settings)
    path.write_bytes(b"garbage " * 2_000)
    office.minutes(3)
    office.worker.step()
    assert office.ledger_writer.step() is not None
    assert office.ledger_writer.step() is None
    assert office.rows() == [(0, 1), (1, 2), (2, 3)]
    assert len(list(path.parent.glob("*.damaged-*"))) == 1
    assert office.undelivered() == []


def test_a_removed_ledger_is_made_again(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    office.minutes(1)
    office.worker.step()
    office.ledger_writer.step()
    for path in office.settings.state_dir.iterdir():
        path.unlink()
    office.minutes(2)
    office.worker.step()
    office.ledger_writer.step()
    assert office.rows() == office.lines() == [(0, 1), (1, 2)]
    said = logged.records(caplog, "ledger.removed")
    assert [record.levelname for record in said] == ["ERROR"]


def test_without_the_log_the_ledger_goes_on(tmp_path: Path) -> None:
    settings = rig.settings(tmp_path)
    object.__setattr__(settings, "sinks", ())
    office = Office(settings, rig.clock_in_minute())
    office.minutes(1, 2)
    office.ledger_writer.step()
    assert office.rows() == [(0, 1), (1, 2)]
    assert office.undelivered() == []
    # Switched on again, the log begins with what comes, not with the past.
    object.__setattr__(settings, "sinks", ("log",))
    office.begin()
    office.minutes(3)
    office.ledger_writer.step()
    office.worker.step()
    assert office.lines() == [(2, 3)]
    office.ledger_writer.close()
    office.counter.close()


def test_windows_that_were_lost_are_logged(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    office.minutes(1)
    office.worker.step()
    office.ledger_writer.step()
    office.minutes(*[0] * 1_500)
    with caplog.at_level("INFO", logger="verve"):
        office.ledger_writer.step()
        missed = logged.records(caplog, "ledger.missed")
    assert [r.__dict__["verve_fields"]["first"] for r in missed] == [rfc3339(rig.MINUTE + 60)]
    assert len(office.rows()) == 1 + 1_439
