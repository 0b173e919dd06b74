"""Renews the line of this host twice a second, and learns from the answer (rule 9)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from verve.cluster.protocol.clock import open_window
from verve.cluster.redis_state.hosts import FRESH_MILLISECONDS, ClusterError
from verve.log import events
from verve.status.cluster_hosts import Condition, HostCondition, shown
from verve.stores.base import StoreError
from verve.windows.window import LATE_WINDOWS

if TYPE_CHECKING:
    from verve._verve import Counter
    from verve.backoff import Backoff
    from verve.cluster.protocol.loss_detector import LossDetector
    from verve.cluster.redis_state.cluster_state import ClusterState
    from verve.cluster.redis_state.hosts import HostLine, HostLines
    from verve.cluster.runtime.machine import Machine
    from verve.log.background import Notices

    from .clock_sync import ClockSync
    from .loss_recovery import LossRecovery
    from .windows import Windows

_FORGET_SECONDS = 3_600.0


@dataclass(slots=True, eq=False)
class Heartbeat:
    """The heartbeats of one term, with the condition of Redis that they found."""

    counter: Counter
    cluster: ClusterState
    losses: LossDetector
    recovery: LossRecovery
    windows: Windows
    clock_sync: ClockSync
    notices: Notices
    machine: Machine

    refusal: str | None = field(default=None, init=False)
    """Why this host may not count along; None if it may."""
    error: StoreError | None = field(default=None, init=False)
    """The error of the last heartbeat; None if it got through."""
    live_hosts: frozenset[str] | None = field(default=None, init=False)
    """The hosts that are not silent; None before the first heartbeat."""
    hosts: tuple[HostCondition, ...] = field(default=(), init=False)
    """The condition of each host."""
    _backoff: Backoff = field(init=False)
    _first_window: int = field(init=False)
    _forgot_at: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        """Note the window in which the term began."""
        self._backoff = self.machine.backoff(1.0)
        self._first_window = open_window(self.counter)

    @property
    def attempts(self) -> int:
        """Heartbeats that failed in a row."""
        return self._backoff.attempts

    async def step(self) -> None:
        """Renew the line, see what changed, recover what was lost. Raises `StoreError`."""
        cluster = self.cluster
        try:
            lines = await cluster.hosts.renew(
                min(self._first_window, self.windows.oldest()),
                self.windows.unsent(),
                int((self.clock_sync.skew_seconds or 0) * 1_000),
                self.losses.in_touch_since,
            )
            epochs = await cluster.store.epochs()
            self.refusal = None
            self._succeeded()
            self.losses.heartbeat(lines, epochs)
            cluster.windows.masters = cluster.client.masters
            await self.recovery.run()
            self.hosts = shown(self._condition(host, lines.now) for host in lines.hosts.values())
            self._compare_hosts(lines)
            if self.machine.monotonic() - self._forgot_at > _FORGET_SECONDS:
                self._forgot_at = self.machine.monotonic()
                await cluster.hosts.forget_old(lines)
            if self.windows.knows_spills:
                self.windows.note_changes(await cluster.changes.news())
        except ClusterError as error:
            self._refused(error)
        except StoreError as error:
            self._failed(error)
            raise
        else:
            cluster.in_touch.set()

    def _failed(self, error: StoreError) -> None:
        self.cluster.in_touch.clear()
        self.error = error
        if self._backoff.failed():
            self.notices.put(events.REDIS_AWAY, error=error, attempts=self.attempts)

    def _succeeded(self) -> None:
        self.error = None
        if failed := self._backoff.succeeded():
            self.notices.put(events.REDIS_BACK, attempts=failed)

    def _refused(self, error: ClusterError) -> None:
        self._succeeded()
        self.cluster.in_touch.clear()
        if self.refusal is None:
            self.notices.put(events.CLUSTER_REFUSED, error=error)
        self.refusal = str(error)

    def _condition(self, host: HostLine, now: int) -> HostCondition:
        age = now - host.heartbeat
        condition = Condition.LIVE
        if age > self.cluster.hosts.silent_ms:
            condition = Condition.SILENT
        elif age > FRESH_MILLISECONDS or host.unsent_windows > LATE_WINDOWS:
            condition = Condition.LATE
        since = None if age <= FRESH_MILLISECONDS else host.heartbeat // 1_000
        return HostCondition(
            host.id, host.name, condition, since, host.skew_ms / 1_000, host.unsent_windows
        )

    def _compare_hosts(self, lines: HostLines) -> None:
        """Report the hosts that came and those that went."""
        if self.losses.is_quiet and self.losses.losses:
            # The lines may just have been lost, all of them.
            return
        silent = self.cluster.hosts.silent_ms
        alive = {host.id for host in lines.hosts.values() if lines.now - host.heartbeat <= silent}
        before = alive if self.live_hosts is None else self.live_hosts
        for id in alive - before:
            host = lines.hosts[id]
            self.notices.put(events.HOST_JOINED, host_id=id, name=host.name, version=host.version)
        for id in before - alive:
            how = "is silent" if id in lines.hosts else "stopped"
            self.notices.put(events.HOST_LEFT, host_id=id, how=how)
        self.live_hosts = frozenset(alive)
