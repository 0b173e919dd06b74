"""Registers this host for the open window and the next ones, and takes it out when it stops."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verve.cluster.protocol.clock import open_window
from verve.cluster.protocol.host_completion import StateLostError
from verve.cluster.protocol.markers import place_marker, register
from verve.cluster.redis_state.window_state import HostStatus
from verve.cluster.spill.arena_ids import ArenaIds, GoneError

if TYPE_CHECKING:
    from verve._verve import Counter
    from verve.cluster.protocol.host_completion import HostCompletion
    from verve.cluster.protocol.loss_detector import LossDetector
    from verve.cluster.redis_state.cluster_state import ClusterState

WINDOWS_AHEAD = 2
"""Windows that are registered before they start."""


class Registrar:
    """The registrations of one term (rules 2 and 4)."""

    def __init__(
        self,
        counter: Counter,
        cluster: ClusterState,
        losses: LossDetector,
        completion: HostCompletion,
    ) -> None:
        self._counter = counter
        self._cluster = cluster
        self._losses = losses
        self._completion = completion
        self._markers = completion.markers
        self._registered: set[int] = set()
        self.has_joined = False
        """Whether this leader has registered an open window."""

    async def step(self) -> None:
        """Register what is not registered; future windows with a marker. Raises `StoreError`."""
        await self._cluster.in_touch.wait()
        current, seconds = open_window(self._counter), self._counter.window
        self._registered = {start for start in self._registered if start >= current}
        if current not in self._registered:
            after_loss = self._losses.losses > 0
            await register(
                self._cluster, self._markers, current, is_open=True, after_loss=after_loss
            )
            self._registered.add(current)
            self.has_joined = True
        for start in range(current + seconds, current + (WINDOWS_AHEAD + 1) * seconds, seconds):
            if start in self._registered:
                continue
            placed = await place_marker(self._cluster, self._markers, start, is_open=True)
            # No later: the marker does not vouch for ids that came before it.
            if self._counter.now() < start:
                self._markers.trust(start, placed)
            self._registered.add(start)

    def begin_again(self) -> None:
        """Redis lost something: register all windows again, with markers that are news."""
        self._markers.distrust()
        self._registered.clear()

    async def leave(self) -> None:
        """Take the line of this host away; complete it early if its ids are in Redis.

        If it comes back within one of these windows, it registers as open again. Raises
        `StoreError`.
        """
        current = open_window(self._counter)
        await self._complete_early(current)
        for start in self._registered - {current}:
            await self._cluster.windows.complete(
                start, self._cluster.own_id, None, "-", HostStatus.LEFT_EARLY
            )
        await self._cluster.hosts.leave()

    async def _complete_early(self, window_start: int) -> None:
        """Note that all ids of the open window are in Redis, if they are."""
        count = self._counter.count()
        is_trusted = self._markers.trusted(window_start) is not None
        if count and not (
            is_trusted and self._counter.replication.acknowledged(window_start) == count
        ):
            return
        ids = ArenaIds(self._counter, window_start, count)
        try:
            await self._completion.complete(window_start, ids, HostStatus.LEFT_EARLY)
        except (StateLostError, GoneError):
            return
