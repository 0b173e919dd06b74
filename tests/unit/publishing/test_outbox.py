from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

import pytest

from tests.support import rig
from verve.backoff import Backoff
from verve.ledger import ledger
from verve.ledger.ledger import LedgerError, LedgerFailure
from verve.publishing.lease import Lease
from verve.publishing.outbox import Outbox
from verve.publishing.sink_worker import SinkWorker
from verve.sinks import Scope

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from verve.config import Settings
    from verve.windows.window import Window


class AnyLease(Lease):
    """A lease that holds until the test ends it."""

    def __init__(self) -> None:
        self.held = True

    def holds(self) -> bool:
        """Whether it holds."""
        return self.held


class Shelf:
    """A sink that takes everything."""

    name = "kafka"
    scope = Scope.CLUSTER

    def __init__(self) -> None:
        self.taken: list[Window] = []

    def take(self, window: Window) -> None:
        """Take it."""
        self.taken.append(window)

    def interrupt(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing is held."""


@pytest.fixture
def made(tmp_path: Path) -> Settings:
    return rig.settings(tmp_path, sinks="kafka", kafka_brokers="127.0.0.1:1")


@pytest.fixture
def stored(made: Settings) -> Iterator[ledger.Ledger]:
    opened = ledger.open_ledger(made)
    opened.record([rig.window(n, n) for n in range(3)], sinks=["kafka"])
    yield opened
    opened.close()


@pytest.fixture
def outbox(made: Settings) -> Iterator[Outbox]:
    made_one = Outbox(made, AnyLease(), "kafka")
    yield made_one
    made_one.close()


def test_without_a_ledger_nothing_is_pending(outbox: Outbox) -> None:
    assert list(outbox.pending()) == []


def test_each_window_is_taken_once(outbox: Outbox, stored: ledger.Ledger) -> None:
    sink = Shelf()
    worker = SinkWorker(sink, outbox)
    worker.step()
    assert sink.taken == [rig.window(n, n) for n in range(3)]
    assert stored.undelivered("kafka") == []
    worker.step()
    assert len(sink.taken) == 3


def test_what_cannot_be_noted_is_not_taken_again(
    outbox: Outbox, stored: ledger.Ledger, made: Settings
) -> None:
    sink = Shelf()
    worker = SinkWorker(sink, outbox)
    worker._backoff = Backoff(first=0.0)
    with contextlib.closing(sqlite3.connect(ledger.path_of(made), isolation_level=None)) as lock:
        lock.execute("BEGIN IMMEDIATE")
        worker.step()
        worker.step()
        assert worker.state.failure == "ledger"
        assert len(sink.taken) == 1
    worker.step()
    assert sink.taken == [rig.window(n, n) for n in range(3)]
    assert stored.undelivered("kafka") == []
    assert worker.state.error is None


def test_a_deposed_leader_notes_nothing(made: Settings, stored: ledger.Ledger) -> None:
    lease = AnyLease()
    outbox = Outbox(made, lease, "kafka")
    waiting = outbox.pending()
    first = next(waiting)
    lease.held = False
    assert not outbox.mark_taken(first)
    assert list(waiting) == []
    assert list(outbox.pending()) == []
    assert len(stored.undelivered("kafka")) == 3
    outbox.close()


def test_a_higher_revision_stays_to_be_delivered(outbox: Outbox, stored: ledger.Ledger) -> None:
    first = next(iter(outbox.pending()))
    again = rig.window(0, 50, revision=2)
    stored.record([again], sinks=["kafka"])
    assert outbox.mark_taken(first)
    assert next(iter(outbox.pending())) == again


def test_a_replaced_ledger_is_opened_again(
    outbox: Outbox, stored: ledger.Ledger, made: Settings
) -> None:
    assert len(list(outbox.pending())) == 3
    stored.close()
    ledger.set_aside(ledger.path_of(made))
    another = ledger.open_ledger(made)
    another.record([rig.window(7)], sinks=["kafka"])
    assert list(outbox.pending()) == [rig.window(7)]
    another.close()


def test_a_damaged_ledger_is_an_error(made: Settings, stored: ledger.Ledger) -> None:
    stored.close()
    path = ledger.path_of(made)
    path.write_bytes(b"no database" * 1000)
    outbox = Outbox(made, AnyLease(), "kafka")
    with pytest.raises(LedgerError) as caught:
        list(outbox.pending())
    assert caught.value.kind is LedgerFailure.DAMAGED


def test_backlog_and_undelivered(made: Settings, stored: ledger.Ledger) -> None:
    path = ledger.path_of(made)
    assert ledger.backlog(path, "kafka") == (3, 180, rig.MINUTE)
    assert ledger.backlog(path, "log") == (0, 0, None)
    stored.mark_taken("kafka", rig.window(0, 0), 1.0, fence=lambda: True)
    assert ledger.backlog(path, "kafka") == (2, 120, rig.MINUTE + 60)
    assert ledger.undelivered(path) == [
        (rig.window(2, 2), ("kafka",)),
        (rig.window(1, 1), ("kafka",)),
    ]
    assert ledger.undelivered(path, limit=1, until=rig.MINUTE + 120) == [
        (rig.window(1, 1), ("kafka",))
    ]
    nothing = path.with_name("nothing")
    assert ledger.backlog(nothing, "kafka") == (0, 0, None)
    assert ledger.undelivered(nothing) == []


def test_windows_are_opened_again(made: Settings, stored: ledger.Ledger) -> None:
    path = ledger.path_of(made)
    for number in range(3):
        stored.mark_taken("kafka", rig.window(number, number), 1.0, fence=lambda: True)
    assert stored.reopen("kafka", rig.MINUTE, rig.MINUTE + 61) == 2
    assert ledger.backlog(path, "kafka") == (2, 120, rig.MINUTE)
    # Also for a sink that was not there when they were stored.
    assert stored.reopen("another", rig.MINUTE, 2**62) == 3
    assert ledger.backlog(path, "another").windows == 3
