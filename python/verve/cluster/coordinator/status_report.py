"""Reports the condition of this host in its cluster to all of its processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from verve.log import events
from verve.status.cluster_status import Membership

if TYPE_CHECKING:
    from verve.cluster.interfaces import Lease
    from verve.cluster.runtime.machine import Machine
    from verve.cluster.spill.spills import Spills
    from verve.status.cluster_status import Report

    from .clock_sync import ClockSync
    from .current_count import CurrentCount
    from .event_counts import EventCounts
    from .heartbeat import Heartbeat
    from .registrar import Registrar
    from .windows import Windows


@dataclass(frozen=True, slots=True, eq=False)
class StatusReport:
    """Collects the status of each task. `report` writes the file."""

    report: Report
    lease: Lease
    heartbeat: Heartbeat
    clock_sync: ClockSync
    registrar: Registrar
    current_count: CurrentCount
    windows: Windows
    spills: Spills
    counts: EventCounts
    machine: Machine

    async def left(self) -> None:
        """Report that this host has left: the next leader has nobody to miss."""
        self.heartbeat.hosts = ()
        await self.step()

    async def step(self) -> None:
        """Report once."""
        error = self.heartbeat.error
        member = Membership(
            term=self.lease.term,
            counted=self.current_count.counted,
            joined=self.registrar.has_joined and self.clock_sync.has_run,
            refusal=self.heartbeat.refusal,
            error=None if error is None else str(error),
            trouble=None if error is None else str(error.kind),
            attempts=self.heartbeat.attempts,
            skew_seconds=self.clock_sync.skew_seconds,
            unsent_windows=self.windows.unsent(),
            live_hosts=len(self.heartbeat.live_hosts or ()),
            hosts=self.heartbeat.hosts,
            revisions=self.counts.revisions,
            degraded_windows=self.counts.of(events.WINDOW_DEGRADED),
            resent_ids=self.counts.resent_ids,
            disturbances=self.counts.of(events.CLUSTER_DISTURBED),
        )
        # In a thread: the disk may be slow.
        await self.machine.in_thread(self.report, member, self.spills.usage)
