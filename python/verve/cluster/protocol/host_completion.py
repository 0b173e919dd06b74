"""Completing a host in a window: all of its ids are in Redis, behind a trusted marker (rule 3)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from verve.cluster.redis_state.window_state import HostStatus, Outcome
from verve.log import events

from .markers import PlacedMarker, place_marker

if TYPE_CHECKING:
    from verve._verve import Counter
    from verve.cluster.redis_state.cluster_state import ClusterState
    from verve.cluster.redis_state.window_state import WindowState
    from verve.cluster.runtime.machine import Machine
    from verve.cluster.spill.arena_ids import Ids
    from verve.log.background import Notices

    from .markers import Markers

PROGRESS_SECONDS = 10.0
"""Seconds between two events on the progress of a long send."""
# Workers may be about to send the last ids: they get this long after each acknowledgement.
_WORKERS_SECONDS = 0.3
_LOOK_SECONDS = 0.02


class StateLostError(Exception):
    """Redis has no registration of this host any more: the state of the window was lost."""


@dataclass(slots=True)
class _FullSend:
    """The progress of sending all ids again. `position` is the next one in `ids`."""

    ids: Ids
    marker: PlacedMarker
    reason: str
    began: float
    reported: float
    position: int | None = 0
    sent: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class HostCompletion:
    """Completes one host, that of `markers`, in its windows. Full sends go on at the next call."""

    counter: Counter
    cluster: ClusterState
    markers: Markers
    notices: Notices
    machine: Machine
    _sends: dict[int, _FullSend] = field(default_factory=dict, init=False)

    async def complete(
        self, window_start: int, ids: Ids, status: HostStatus = HostStatus.COMPLETE
    ) -> WindowState:
        """Have all ids in Redis and note it there; the state after that.

        The host must be registered. `status` is `LEFT_EARLY` for a host that leaves before the end
        of the window. Raises `StoreError`, `GoneError`, `DamagedError`, and `StateLostError` if the
        registration is gone.
        """
        if ids.count == 0:
            return await self._note(window_start, None, status)
        send = self._sends.get(window_start)
        marker: PlacedMarker | None = None
        if send is None:
            await self._wait_for_workers(window_start, ids.count)
            marker = self.markers.trusted(window_start)
            reason = await self._reason_to_send(window_start, ids.count, marker)
        else:
            reason = send.reason
        if reason is None:
            return await self._note(window_start, marker, status)
        while reason is not None:
            reason, marker = await self._send(window_start, ids, reason)
        if marker is not None:
            # It went in before all ids, as a marker from before the window does.
            self.markers.trust(window_start, marker)
        return await self._note(window_start, marker, status)

    def forget(self, window_start: int) -> None:
        """The window needs no completion any more, or has to begin anew."""
        self._sends.pop(window_start, None)

    async def _note(
        self, window_start: int, placed: PlacedMarker | None, status: HostStatus
    ) -> WindowState:
        marker, epochs = (None, "-") if placed is None else (placed.marker, placed.epochs)
        step = await self.cluster.windows.complete(
            window_start, self.markers.host, marker, epochs, status
        )
        if step.outcome is Outcome.UNREGISTERED:
            raise StateLostError
        return step.state

    async def _wait_for_workers(self, window_start: int, count: int) -> None:
        """Wait a moment for the last acknowledgements, as long as more of them come."""
        now, seen = self.machine.monotonic, -1
        until = now() + _WORKERS_SECONDS
        while now() < until:
            acknowledged = self.counter.replication.acknowledged(window_start)
            if acknowledged is None or acknowledged >= count:
                return
            if acknowledged > seen:
                seen, until = acknowledged, now() + _WORKERS_SECONDS
            await asyncio.sleep(_LOOK_SECONDS)

    async def _reason_to_send(
        self, window_start: int, count: int, placed: PlacedMarker | None
    ) -> str | None:
        """Why all ids have to be sent again; None if they are in Redis."""
        acknowledged = self.counter.replication.acknowledged(window_start)
        if placed is None:
            return "no marker from before the window"
        # The marker of a full send needs no acknowledgements: all ids went in behind it.
        if not placed.covers_all and acknowledged != count:
            return f"{acknowledged} of {count} ids acknowledged"
        return await self._loss_since(window_start, placed)

    async def _loss_since(self, window_start: int, placed: PlacedMarker) -> str | None:
        """What Redis lost since the marker went in; None if nothing."""
        stored = await self.cluster.store.count(window_start, [placed.marker])
        if placed.marker not in stored.markers:
            return "the marker is gone"
        if await self.cluster.store.epochs() != placed.epochs:
            return "a master was restarted or replaced"
        if self.markers.losses != placed.losses:
            return "Redis lost something meanwhile"
        return None

    async def _send(
        self, window_start: int, ids: Ids, reason: str
    ) -> tuple[str | None, PlacedMarker]:
        """Add all ids again, behind a fresh marker that must still be there at the end.

        Gives the marker, and the reason to send once more if it is not there.
        """
        now = self.machine.monotonic
        send = self._sends.get(window_start)
        if send is None or send.ids is not ids:
            self.notices.put(
                events.WINDOW_RESENT, window_start=window_start, ids=ids.count, reason=reason
            )
            marker = await place_marker(self.cluster, self.markers, window_start)
            send = _FullSend(ids, marker, reason, began=now(), reported=now())
            self._sends[window_start] = send
        while send.position is not None:
            groups, following = ids.read(send.position)
            if groups:
                await self.cluster.store.add(window_start, groups)
            send.position = following
            send.sent += sum(map(len, groups.values()))
            if now() - send.reported >= PROGRESS_SECONDS:
                send.reported = now()
                self.notices.put(
                    events.WINDOW_SENDING,
                    window_start=window_start,
                    sent=send.sent,
                    ids=ids.count,
                    seconds=round(now() - send.began, 1),
                )
        loss = await self._loss_since(window_start, send.marker)
        self.forget(window_start)
        return loss, replace(send.marker, covers_all=True)
