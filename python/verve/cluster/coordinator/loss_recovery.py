"""Puts back what Redis lost, and has all windows begin again (rule 9)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from verve.cluster.redis_state.window_state import Outcome, Record

if TYPE_CHECKING:
    from collections.abc import Iterable

    from verve.cluster.interfaces import Feed
    from verve.cluster.protocol.loss_detector import LossDetector, RecentRecords
    from verve.cluster.redis_state.cluster_state import ClusterState
    from verve.cluster.runtime.machine import Machine
    from verve.windows.window import Window

    from .registrar import Registrar
    from .windows import Windows

_REMEMBERED = 64
"""Records of the ledger that are put back into a Redis that lost them."""


@dataclass(slots=True, eq=False)
class LossRecovery:
    """Runs once at the start of a term, since an earlier leader may have noticed a loss."""

    cluster: ClusterState
    losses: LossDetector
    records: RecentRecords
    feed: Feed
    windows: Windows
    registrar: Registrar
    machine: Machine
    _recovered: int = field(default=-1, init=False)
    """The losses that were recovered from; -1 before the first run."""

    async def run(self) -> None:
        """Recover, if there is a loss that was not recovered from. Raises `StoreError`."""
        if self.losses.losses == self._recovered:
            return
        if self._recovered < 0:
            known = await self.machine.in_thread(self.feed.known)
            self._remember(known[:_REMEMBERED])
            self.windows.watch_unseen(known)
        losses = self.losses.losses
        # Before all else: this leader may be replaced at any moment.
        await self.cluster.hosts.note_missing(self.losses.missing())
        for start, record in reversed(self.records.all()):
            step = await self.cluster.windows.restore(start, record)
            if step.outcome is Outcome.RESTORED:
                await self.cluster.changes.note(start)
        self.registrar.begin_again()
        self.windows.begin_again()
        self._recovered = losses

    def _remember(self, windows: Iterable[Window]) -> None:
        """Take records of the ledger as they would stand in Redis.

        Who was to deliver one may have died before it could. So this host is to, unless its ledger
        says that it did: a message may come twice, but never not at all.
        """
        for window in windows:
            if window.revision > 0 and window.window_seconds == self.cluster.keys.seconds:
                own = self.cluster.own_id
                complete = not window.degraded
                record = Record(window.revision, window.unique, complete, own, f"{own} 0")
                self.records.see(window.window_start, record)
