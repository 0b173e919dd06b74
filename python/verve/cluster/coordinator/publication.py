"""Hands the records of the cluster to the ledger and the sinks (rules 10 and 11)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from verve.cluster.cluster_window import ClusterNote, ClusterWindow
from verve.cluster.redis_state.hosts import is_alive
from verve.cluster.redis_state.window_state import DELIVERY_MILLISECONDS, Outcome
from verve.windows.window import Key, Window

if TYPE_CHECKING:
    from collections.abc import Callable

    from verve._verve import Counter
    from verve.cluster.interfaces import Feed
    from verve.cluster.protocol.loss_detector import RecentRecords
    from verve.cluster.redis_state.cluster_state import ClusterState
    from verve.cluster.redis_state.window_state import Record, WindowState
    from verve.cluster.runtime.machine import Machine


_NOTES = 256
"""Windows whose last notes are known, so that they are not repeated."""


class Published(NamedTuple):
    """What was published of a window so far. A higher one replaces a lower one."""

    revision: int = -1
    delivers: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Publication:
    """Publishes the windows of one leader.

    `has_cluster_sinks`: there are sinks that get each revision from one host of the cluster, the
    deliverer. `archive` takes notes for the archive, if there is one.
    """

    counter: Counter
    cluster: ClusterState
    feed: Feed
    records: RecentRecords
    machine: Machine
    has_cluster_sinks: bool
    archive: Callable[[ClusterNote], None] | None = None
    _noted: dict[int, ClusterNote] = field(default_factory=dict)

    def tell_archive(self, window_start: int, state: WindowState, record: Record | None) -> None:
        """Note the hosts of a window and its count, if they changed."""
        if self.archive is None or record is None:
            return
        final = record.complete and not state.asks_for_revision
        note = ClusterNote(window_start, tuple(sorted(state.hosts)), record.count, final)
        if self._noted.get(window_start) != note:
            self._noted[window_start] = note
            self.archive(note)
            for old in sorted(self._noted)[:-_NOTES]:
                del self._noted[old]

    async def put_back(self, window_start: int, record: Record) -> Record:
        """Remember a record; put one back that Redis lost, and give what is there then (rule 9).

        Nobody may have noticed the loss: of an eviction, or of what went to an old master. Raises
        `StoreError`.
        """
        lost = self.records.lost(window_start, record)
        if lost is not None:
            step = await self.cluster.windows.restore(window_start, lost)
            record = step.state.record or record
            if step.outcome is Outcome.RESTORED:
                await self.cluster.changes.note(window_start)
        self.records.see(window_start, record)
        return record

    async def take_over(self, window_start: int, record: Record, now: int) -> Record:
        """Become the deliverer, if that host is gone; the record after that. `StoreError`.

        `now` is Redis's time in milliseconds.
        """
        cluster = self.cluster
        # A time far ahead is damaged.
        is_late = abs(now - record.delivery_since) > DELIVERY_MILLISECONDS
        if record.deliverer in {None, cluster.own_id} or not is_late:
            return record
        lines = await cluster.hosts.read()
        if is_alive(record.deliverer or "", lines, cluster.hosts.silent_ms):
            return record
        step = await cluster.windows.take_over(window_start, cluster.own_id, record)
        is_ours = step.outcome is Outcome.TAKEN_OVER and step.state.record is not None
        return step.state.record or record if is_ours else record

    async def note_delivery(self, window_start: int, record: Record) -> Record:
        """Note in Redis that this host has delivered, if it has; the record after that.

        Without sinks that need a deliverer, a delivery is done at once. Raises `StoreError`.
        """
        if record.deliverer != self.cluster.own_id:
            return record
        key = Key(window_start, self.cluster.keys.seconds)
        if self.has_cluster_sinks and not await self.machine.in_thread(
            self.feed.is_delivered, key, record.revision
        ):
            return record
        step = await self.cluster.windows.delivered(window_start, record.revision)
        if step.state.record is None:
            return record
        self.records.see(window_start, step.state.record)
        return step.state.record

    def publish(
        self, window_start: int, figures: Window | None, record: Record, before: Published
    ) -> Published:
        """Publish each revision once, and once more if this host is to deliver it.

        `figures` are this host's. Without any, only a revision to be delivered is published.
        """
        delivers = self.has_cluster_sinks and record.deliverer == self.cluster.own_id
        published = Published(record.revision, delivers)
        if published <= before or (figures is None and not delivers):
            return before
        if figures is None:
            seconds = self.cluster.keys.seconds
            figures = Window(window_start=window_start, window_seconds=seconds, unique=0)
        self.counter.replication.note_cluster_count(window_start, record.count, final=True)
        self.feed.add(
            ClusterWindow.of(
                figures,
                unique=record.count,
                revision=record.revision,
                degraded=not record.complete,
                delivers=delivers,
            )
        )
        return published

    def publish_provisional(self, figures: Window) -> Published:
        """Publish this host's own count, as revision 0."""
        self.feed.add(
            ClusterWindow.of(
                figures, unique=figures.unique, revision=0, degraded=True, delivers=False
            )
        )
        return Published(0)
