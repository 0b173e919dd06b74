"""Reads what all hosts have counted in the open window so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verve.cluster.protocol.clock import open_window

if TYPE_CHECKING:
    from verve._verve import Counter
    from verve.cluster.protocol.markers import Markers
    from verve.cluster.redis_state.cluster_state import ClusterState


class CurrentCount:
    """Notes the cluster's count in the segment, for all workers of the host."""

    def __init__(self, counter: Counter, cluster: ClusterState, markers: Markers) -> None:
        self._counter = counter
        self._cluster = cluster
        self._markers = markers
        self.counted: int | None = None
        """When the count was read last, in nanoseconds since the boot."""

    async def step(self) -> None:
        """Read the count once. Raises `StoreError`."""
        await self._cluster.in_touch.wait()
        window = open_window(self._counter)
        # All hosts remember the markers of all, in case the state and its hosts are lost.
        state = await self._cluster.windows.read(window)
        self._markers.learn(window, state.markers)
        stored = await self._cluster.store.count(window, self._markers.known(window).keys())
        self._counter.replication.note_cluster_count(window, stored.ids)
        self.counted = self._counter.reference_clock.boot()
