"""Registers this host for the open window and the next ones, and takes it out when it stops."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verve.cluster.protocol.clock import open_window
from verve.cluster.protocol.host_completion import StateLostError
from verve.cluster.protocol.markers import place_marker, register
from verve.cluster.redis_state.window_state import HostStatus
from verve.cluster.spill.arena_ids import ArenaIds, GoneError

if TYPE_CHECKING:
    from collections.abc import Iterable

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
        """Register what is not registered, with a marker. Raises `StoreError`."""
        await self._cluster.in_touch.wait()
        current, seconds = open_window(self._counter), self._counter.window
        self._registered = {start for start in self._registered if start >= current}
        for start in range(current, current + (WINDOWS_AHEAD + 1) * seconds, seconds):
            if start in self._registered:
                continue
            after_loss = start == current and self._losses.losses > 0
            placed = await place_marker(
                self._cluster, self._markers, start, is_open=True, after_loss=after_loss
            )
            # No later: the marker does not vouch for ids that came before it.
            if self._counter.now() < start:
                self._markers.trust(start, placed)
            self._registered.add(start)
            self.has_joined = True

    def begin_again(self) -> None:
        """Redis lost something: register all windows again, with markers that are news."""
        self._markers.distrust()
        self._registered.clear()

    async def leave(self, with_ids: Iterable[int]) -> None:
        """Take the line of this host away; complete it early if its ids are in Redis.

        `with_ids`: closed windows that have ids of this host. Once the line is gone, only the
        windows for which the host is registered wait for it, and Redis may have lost that.

        If it comes back within one of these windows, it registers as open again. Raises
        `StoreError`.
        """
        current, after_loss = open_window(self._counter), self._losses.losses > 0
        for start in {*with_ids, *self._registered, current}:
            if start <= current:
                await register(
                    self._cluster,
                    self._markers,
                    start,
                    is_open=start == current,
                    after_loss=after_loss,
                )
        await self._complete_early(current)
        for start in self._registered:
            # Of one that has just ended there are ids.
            if start > current:
                await self._cluster.windows.complete(
                    start, self._cluster.own_id, None, "-", HostStatus.LEFT_EARLY
                )
        await self._cluster.hosts.leave()
        self.has_joined = False

    async def _complete_early(self, window_start: int) -> None:
        """Note that all ids of the open window are in Redis, if they are."""
        count = self._counter.count()
        if open_window(self._counter) != window_start:
            return  # it has just ended: that was the count of the next one
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
