"""Completing a host in a window: all of its ids are in Redis, and that can be told (rule 3)."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from verve.cluster.redis_state.window_state import Outcome
from verve.log import events

from .markers import Trust, mark

if TYPE_CHECKING:
    from verve._verve import Counter
    from verve.cluster.interfaces import Notices
    from verve.cluster.redis_state.window_state import WindowState, WindowStates
    from verve.cluster.spill.arena_ids import Ids
    from verve.stores.base import Store

    from .markers import Markers

TELL_EVERY = 10.0
"""Seconds between two words on how far a long send has come."""
# Workers that are about to send the last ids are waited for this long, as long as they get on.
_PATIENCE = 0.3
_LOOK_EVERY = 0.02


class StateLostError(Exception):
    """Redis no longer knows what this host did: something was lost there."""


@dataclass(slots=True)
class _Sending:
    """How far a send of all ids has come. `position` is one in `ids`."""

    ids: Ids
    trust: Trust
    reason: str
    position: int | None = 0
    sent: int = 0
    began: float = 0.0
    told: float = 0.0


class HostCompletion:
    """Closes the windows of one host. What was begun goes on at the next call."""

    def __init__(  # noqa: PLR0913 - what it stands between
        self,
        counter: Counter,
        states: WindowStates,
        store: Store,
        markers: Markers,
        notices: Notices,
        *,
        early: bool = False,
    ) -> None:
        """`early`: the window has not ended, and this host leaves."""
        self._counter = counter
        self._states = states
        self._store = store
        self._markers = markers
        self._notices = notices
        self._early = early
        self._sending: dict[int, _Sending] = {}

    async def close(self, window_start: int, ids: Ids) -> WindowState:
        """Have all ids there, and note it; the state after that.

        The host must be registered. Raises `StoreError`, `GoneError`, `DamagedError`, and
        `StateLostError` when the registration is gone.
        """
        if ids.count == 0:
            return await self._complete(window_start, None)
        sending = self._sending.get(window_start)
        trust: Trust | None = None
        if sending is None:
            await self._wait_for_workers(window_start, ids.count)
            trust = self._markers.trusted(window_start)
            reason = await self._missing(window_start, ids.count, trust)
            if reason is None:
                return await self._complete(window_start, trust)
        else:
            reason = sending.reason
        while reason is not None:
            reason, trust = await self._send(window_start, ids, reason)
        if trust is not None:
            # From here on it vouches for all ids, as one from before the window does.
            self._markers.trust(window_start, trust)
        return await self._complete(window_start, trust)

    def forget(self, window_start: int) -> None:
        """The window needs no closing any more, or has to begin anew."""
        self._sending.pop(window_start, None)

    async def _complete(self, window_start: int, trust: Trust | None) -> WindowState:
        marker, epochs = (None, "-") if trust is None else (trust.marker, trust.epochs)
        step = await self._states.complete(
            window_start, self._markers.host, marker, epochs, early=self._early
        )
        if step.outcome is Outcome.UNREGISTERED:
            raise StateLostError
        return step.state

    async def _wait_for_workers(self, window_start: int, count: int) -> None:
        """Wait a moment for the last acknowledgements, as long as there are more of them."""
        seen = -1
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            acknowledged = self._counter.acknowledged(window_start)
            if acknowledged is None or acknowledged >= count:
                return
            if acknowledged > seen:
                seen, until = acknowledged, time.monotonic() + _PATIENCE
            await asyncio.sleep(_LOOK_EVERY)

    async def _missing(self, window_start: int, count: int, trust: Trust | None) -> str | None:
        """Why all ids have to be sent again; None when they are there."""
        acknowledged = self._counter.acknowledged(window_start)
        if trust is None:
            return "no marker from before the window"
        # A trusted marker of an earlier send needs no acknowledgements: that send was whole.
        if not trust.whole and acknowledged != count:
            return f"{acknowledged} of {count} ids acknowledged"
        return await self._broken(window_start, trust)

    async def _broken(self, window_start: int, trust: Trust) -> str | None:
        """What happened in Redis since the marker went in, if anything."""
        stored = await self._store.count(window_start, [trust.marker])
        if trust.marker not in stored.markers:
            return "the marker is gone"
        if await self._store.epochs() != trust.epochs:
            return "a master was restarted or replaced"
        return None

    async def _send(self, window_start: int, ids: Ids, reason: str) -> tuple[str | None, Trust]:
        """Add all ids again, behind a fresh marker that has to be there still at the end.

        If it is not, the first says why: what came before the loss has to be sent once more.
        """
        sending = self._sending.get(window_start)
        if sending is None or sending.ids is not ids:
            self._notices.put(
                events.WINDOW_RESENT, window_start=window_start, ids=ids.count, reason=reason
            )
            trust = await mark(self._states, self._store, self._markers, window_start)
            now = time.monotonic()
            sending = _Sending(ids, trust, reason, began=now, told=now)
            self._sending[window_start] = sending
        while sending.position is not None:
            groups, following = ids.read(sending.position)
            if groups:
                await self._store.add(window_start, groups)
            sending.position = following
            sending.sent += sum(map(len, groups.values()))
            self._tell(window_start, sending)
        broken = await self._broken(window_start, sending.trust)
        del self._sending[window_start]
        return broken, Trust(sending.trust.marker, sending.trust.epochs, whole=True)

    def _tell(self, window_start: int, sending: _Sending) -> None:
        now = time.monotonic()
        if now - sending.told >= TELL_EVERY:
            sending.told = now
            self._notices.put(
                events.WINDOW_SENDING,
                window_start=window_start,
                sent=sending.sent,
                ids=sending.ids.count,
                seconds=round(now - sending.began, 1),
            )
