from __future__ import annotations

import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.support import rig
from verve.backoff import Backoff
from verve.clock import Clock
from verve.cluster.cluster_window import ClusterWindow
from verve.ledger import ledger
from verve.ledger.lock_holder import HolderWatch
from verve.publishing.lease import Cursor, Lease
from verve.publishing.ledger_writer import LedgerWriter
from verve.publishing.log_queue import LogQueue
from verve.publishing.outbox import Outbox
from verve.publishing.sink_worker import SinkWorker
from verve.publishing.window_source import ClusterSource, RingSource, WindowSource
from verve.sinks import Scope, SinkError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from verve.config import Settings
    from verve.windows.window import Window


class Shelf:
    """A sink that takes everything, unless it is closed."""

    def __init__(self, name: str, scope: Scope) -> None:
        self.name = name
        self.scope = scope
        self.windows: list[Window] = []
        self.closed = False

    def take(self, window: Window) -> None:
        """Take it."""
        if self.closed:
            raise SinkError("closed")
        self.windows.append(window)

    def interrupt(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing is held."""


class Member:
    """A host of a cluster whose coordinator the test plays, with log and Kafka."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clock = rig.clock_in_minute()
        self.counter = rig.counter_of(settings, self.clock)
        self.counter.retention.enable()
        self.log = Shelf("log", Scope.HOST)
        self.kafka = Shelf("kafka", Scope.CLUSTER)
        self.begin()

    def begin(self) -> None:
        """Begin a term, which knows only what segment and ledger hold."""
        self.counter.lease.release()
        term = self.counter.lease.acquire()
        assert term is not None
        lease = Lease(self.counter, term)
        self.woken = 0
        self.source = ClusterSource(self.counter, self.settings, self._wake)
        queue = LogQueue(self.counter, self.source, lease, clock=Clock(wait_for=rig.no_wait))
        self.ledger_writer = LedgerWriter(
            self.counter,
            self.source,
            self.settings,
            lease,
            queue,
            HolderWatch(ledger.path_of(self.settings), None),
        )
        self.outbox = Outbox(self.settings, lease, "kafka")
        self.workers = [SinkWorker(self.log, queue), SinkWorker(self.kafka, self.outbox)]
        self.ledger_writer._backoff = Backoff(first=0.0, longest=0.0)
        for worker in self.workers:
            worker._backoff = Backoff(first=0.0, longest=0.0)

    def _wake(self) -> None:
        self.woken += 1

    def close(self) -> None:
        """End it."""
        self.ledger_writer.close()
        self.outbox.close()
        self.counter.close()

    def minutes(self, *uniques: int) -> None:
        """Let one minute pass per element, with that many ids on this host."""
        for unique in uniques:
            self.counter.add_many(range(unique))
            self.clock.advance(60)
            self.counter.maintenance.run()

    def run(self) -> None:
        """Take the steps of a term until nothing is left to do."""
        for _ in range(3):
            self.workers[0].step()
            self.ledger_writer.step()
            self.workers[1].step()

    def logged(self) -> list[tuple[int, int, int]]:
        """The log: number of the minute, revision, count."""
        return [_short(window) for window in self.log.windows]

    def sent(self) -> list[tuple[int, int, int]]:
        """What went to Kafka."""
        return [_short(window) for window in self.kafka.windows]

    def rows(self) -> list[tuple[int, int, int]]:
        """The ledger, oldest first."""
        return [_short(window) for window in ledger.rows(ledger.path_of(self.settings))][::-1]


def _short(window: Window) -> tuple[int, int, int]:
    return (window.window_start - rig.MINUTE) // 60, window.revision, window.unique


def counted(
    number: int, unique: int, revision: int = 1, *, delivers: bool = False, own: int = 1
) -> ClusterWindow:
    """What the cluster counted of a minute."""
    figures = rig.window(number, own, requests=own)
    return ClusterWindow.of(
        figures, unique=unique, revision=revision, degraded=revision == 0, delivers=delivers
    )


@pytest.fixture
def member(tmp_path: Path) -> Iterator[Member]:
    made = Member(
        rig.settings(
            tmp_path, cluster="c", sinks="log,kafka", kafka_brokers="127.0.0.1:1", cluster_grace="5"
        )
    )
    yield made
    made.close()


def test_both_are_window_sources(member: Member) -> None:
    feeds: list[WindowSource] = [member.source, RingSource(member.counter, member.settings)]
    assert [source.is_final() for source in feeds] == [False, True]


def test_the_ring_gives_all_sinks_each_window_once(member: Member) -> None:
    member.minutes(1, 2)
    source = RingSource(member.counter, member.settings)
    assert [_short(w) for w in source.after(rig.MINUTE)] == [(1, 1, 2)]
    assert [w.host_unique for w in source.after(0)] == [None, None]
    assert source.behind(rig.MINUTE, everything=False) == []
    assert [_short(w) for w in source.behind(rig.MINUTE, everything=True)] == [(0, 1, 1)]
    assert source.sinks_of(rig.window()) == ("log", "kafka")


def test_windows_come_in_order_and_none_is_left_out(member: Member) -> None:
    member.minutes(1, 2, 3)
    assert member.source.after(0) == []
    member.source.add(counted(1, 20))
    assert member.source.after(0) == []
    member.source.add(counted(0, 10))
    assert [_short(w) for w in member.source.after(0)] == [(0, 1, 10), (1, 1, 20)]
    assert [_short(w) for w in member.source.after(rig.MINUTE)] == [(1, 1, 20)]
    assert member.woken == 2


def test_a_revision_comes_behind_the_cursor_until_it_is_recorded(member: Member) -> None:
    member.minutes(1, 2)
    first, second = counted(0, 10), counted(0, 12, 2)
    member.source.add(first)
    member.source.recorded([first])
    assert member.source.behind(rig.MINUTE, everything=False) == []
    member.source.add(second)
    assert member.source.behind(rig.MINUTE, everything=False) == [second]
    # One that comes while the ledger is written is not taken for recorded.
    third = counted(0, 13, 3)
    member.source.add(third)
    member.source.recorded([second])
    assert member.source.behind(rig.MINUTE, everything=False) == [third]
    # What is older is no news, whoever brings it late.
    member.source.add(second)
    assert member.source.after(0) == [third]


def test_log_and_ledger_get_the_count_of_all_hosts(member: Member) -> None:
    member.minutes(1, 2)
    member.source.add(counted(0, 10, own=1))
    member.run()
    member.source.add(counted(1, 20, own=2))
    member.run()
    assert member.logged() == member.rows() == [(0, 1, 10), (1, 1, 20)]
    assert [w.host_unique for w in member.log.windows] == [1, 2]
    assert member.log.windows[0].as_json()["host_unique"] == 1
    assert [w.host_unique for w in ledger.rows(ledger.path_of(member.settings))] == [2, 1]
    assert member.counter.ring.cursor(Cursor.LOG) == rig.MINUTE + 60
    assert member.counter.ring.cursor(Cursor.LEDGER) == rig.MINUTE + 60
    assert member.sent() == []


def test_each_revision_is_logged_once_and_the_last_one_stays(member: Member) -> None:
    member.minutes(1, 2)
    for window in (counted(0, 1, 0), counted(1, 20), counted(0, 10, 1), counted(0, 12, 2)):
        member.source.add(window)
        member.run()
    assert member.logged() == [(0, 0, 1), (1, 1, 20), (0, 1, 10), (0, 2, 12)]
    assert member.rows() == [(0, 2, 12), (1, 1, 20)]
    assert member.log.windows[0].degraded
    with closing(ledger.open_ledger(member.settings)) as opened:
        assert opened.undelivered("log") == []


def test_kafka_gets_what_this_host_delivers_and_never_revision_0(member: Member) -> None:
    member.minutes(1, 2, 3)
    for window in (counted(0, 1, 0), counted(1, 20), counted(2, 30, delivers=True)):
        member.source.add(window)
        member.run()
    assert member.sent() == [(2, 1, 30)]
    key = rig.window(2).key
    assert member.source.is_delivered(key, 1)
    assert not member.source.is_delivered(key, 2)
    assert not member.source.is_delivered(rig.window(1).key, 1)
    member.source.add(counted(0, 10, 1, delivers=True))
    member.run()
    assert member.sent() == [(2, 1, 30), (0, 1, 10)]


def test_a_delivery_that_is_taken_over_is_made(member: Member) -> None:
    member.minutes(1)
    member.source.add(counted(0, 10, 1, delivers=True))
    member.run()
    # Another host makes the next revision, and dies before it has delivered it.
    member.source.add(counted(0, 12, 2))
    member.run()
    key = rig.window(0).key
    assert not member.source.is_delivered(key, 2)
    member.source.add(counted(0, 12, 2, delivers=True))
    assert not member.source.is_delivered(key, 2)
    member.run()
    assert member.sent() == [(0, 1, 10), (0, 2, 12)]
    assert member.source.is_delivered(key, 2)
    assert member.logged() == [(0, 1, 10), (0, 2, 12)]


def test_a_revision_that_kafka_has_not_taken_gives_way_to_the_next(member: Member) -> None:
    member.kafka.closed = True
    member.minutes(1)
    member.source.add(counted(0, 10, 1, delivers=True))
    member.run()
    member.source.add(counted(0, 12, 2, delivers=True))
    member.run()
    member.kafka.closed = False
    member.run()
    assert member.sent() == [(0, 2, 12)]


def test_the_next_leader_logs_nothing_twice_and_goes_on(member: Member) -> None:
    member.minutes(1, 2)
    member.source.add(counted(0, 10))
    member.source.add(counted(1, 20))
    member.run()
    member.ledger_writer.close()
    member.begin()
    member.minutes(3)
    # A leader that begins looks at the windows of a day.
    for window in (counted(0, 10), counted(1, 22, 2), counted(2, 30)):
        member.source.add(window)
    member.run()
    assert sorted(member.logged()) == [(0, 1, 10), (1, 1, 20), (1, 2, 22), (2, 1, 30)]
    assert member.rows() == [(0, 1, 10), (1, 2, 22), (2, 1, 30)]


def test_the_next_leader_logs_what_the_last_one_did_not(member: Member) -> None:
    member.log.closed = True
    member.minutes(1)
    member.source.add(counted(0, 10))
    member.run()
    member.ledger_writer.close()
    member.begin()
    member.log.closed = False
    # Redis is away: all that the new leader can hand on is the host's own count.
    member.source.add(counted(0, 1, 0))
    member.run()
    assert member.logged()[-1] == (0, 1, 10)
    assert member.rows() == [(0, 1, 10)]


def test_a_released_window_without_a_record_gets_a_provisional_count(member: Member) -> None:
    member.minutes(4, 2)
    start = rig.MINUTE
    member.counter.replication.note_cluster_count(start, 10, final=True)
    # It was let go, so no leader looks at it again; and Redis may have lost its record.
    member.counter.retention.settle(start)
    member.begin()
    member.source.add(counted(1, 20))
    assert member.source.after(0) == []
    member.clock.advance(30)
    assert [_short(w) for w in member.source.after(0)] == [(0, 0, 10), (1, 1, 20)]
    (first, _) = member.source.after(0)
    assert (first.host_unique, first.degraded) == (4, True)
    member.run()
    assert member.logged() == member.rows() == [(0, 0, 10), (1, 1, 20)]
    assert member.sent() == []
    member.source.add(counted(0, 11, 1))
    member.run()
    assert member.logged()[2:] == [(0, 1, 11)]


def test_a_window_that_is_not_released_is_waited_for(member: Member) -> None:
    member.minutes(4)
    member.clock.advance(600)
    assert member.source.after(0) == []


def test_a_ledger_that_is_lost_comes_back_without_new_lines(member: Member) -> None:
    member.minutes(1, 2)
    member.source.add(counted(0, 10))
    member.source.add(counted(1, 20))
    member.run()
    for path in member.settings.state_dir.iterdir():
        path.unlink()
    member.run()
    assert member.logged() == member.rows() == [(0, 1, 10), (1, 1, 20)]


def test_any_thread_may_add_revisions(member: Member) -> None:
    member.minutes(*[1] * 10)

    def publish(revision: int) -> None:
        for number in range(10):
            member.source.add(counted(number, 100 + revision, revision))

    threads = [threading.Thread(target=publish, args=(revision,)) for revision in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        member.run()
    member.run()
    assert member.rows() == [(number, 7, 107) for number in range(10)]
    highest: dict[int, int] = {}
    for number, revision, _ in member.logged():
        assert revision > highest.get(number, -1)
        highest[number] = revision
    assert highest == dict.fromkeys(range(10), 7)
