"""The tasks of one term of a leader, and how often each of them takes its step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from verve.cluster.redis_state.hosts import HEARTBEAT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from verve.cluster.protocol.loss_detector import LossDetector
    from verve.cluster.redis_state.cluster_state import ClusterState
    from verve.cluster.spill.spills import Spills

    from .clock_sync import ClockSync
    from .current_count import CurrentCount
    from .heartbeat import Heartbeat
    from .registrar import Registrar
    from .status_report import StatusReport
    from .windows import Windows

LOCAL_SECONDS = 0.05
_CLOCK_SECONDS = 1.0
_REGISTER_SECONDS = 0.1
_COUNT_SECONDS = 0.5
_REPORT_SECONDS = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """What `Coordinator.assemble` makes."""

    cluster: ClusterState
    losses: LossDetector
    spills: Spills
    windows: Windows
    heartbeat: Heartbeat
    clock_sync: ClockSync
    registrar: Registrar
    current_count: CurrentCount
    status_report: StatusReport

    async def leave(self) -> None:
        """Take this host out of the cluster. Raises `StoreError`."""
        await self.registrar.leave(self.windows.with_ids())
        await self.status_report.left()

    def steps(self) -> Iterator[tuple[Callable[[], Awaitable[None]], float]]:
        """The step of each task, with the seconds between two of them."""
        yield self.windows.step, LOCAL_SECONDS
        yield self.windows.spill, LOCAL_SECONDS
        yield self.heartbeat.step, HEARTBEAT_SECONDS
        yield self.clock_sync.step, _CLOCK_SECONDS
        yield self.registrar.step, _REGISTER_SECONDS
        yield self.current_count.step, _COUNT_SECONDS
        yield self.status_report.step, _REPORT_SECONDS
