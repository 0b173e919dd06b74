"""The life of a window after its end: closed, published, seen, delivered, let go."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from verve.backoff import Backoff
from verve.cluster.cluster_window import ClusterWindow
from verve.cluster.protocol.host_completion import HostCompletion, StateLostError
from verve.cluster.protocol.markers import register
from verve.cluster.protocol.record_committer import Attempt
from verve.cluster.redis_state.hosts import is_alive
from verve.cluster.redis_state.window_state import DELIVERY_MILLISECONDS, Outcome
from verve.cluster.spill.arena_ids import ArenaIds, GoneError
from verve.cluster.spill.spill_file import DamagedError, SpilledIds
from verve.log import events
from verve.sinks import Scope, of_scope
from verve.stores.base import StoreError
from verve.windows.window import Key, Window

if TYPE_CHECKING:
    from verve.cluster.protocol.markers import Markers
    from verve.cluster.redis_state.window_state import HostState, Record, WindowState
    from verve.cluster.spill.arena_ids import Ids

    from .parts import Parts

PROVISIONAL_SECONDS = 2
"""How long after the grace a window without a record is logged with the host's own count."""
_PACE = 0.05
_SLOW = 0.5
_SLOWEST = 5.0
_OLD_SECONDS = 600


class WindowTask:
    """One window of one host.

    `figures` are this host's, if it has any. `ids` are None for a window that is only watched: it
    was let go, or is from before this host's time.
    """

    def __init__(
        self,
        parts: Parts,
        window_start: int,
        markers: Markers,
        figures: Window | None,
        ids: Ids | None,
    ) -> None:
        self._parts = parts
        self._markers = markers
        self._closing = HostCompletion(
            parts.counter, parts.states, parts.store, markers, parts.notices
        )
        self._keys = parts.states.keys
        self._figures = figures
        self._registered = False
        self._closed = False
        self._asked_at: int | None = None
        self._handed: tuple[int, bool] | None = None
        self._resolved_at: float | None = None
        self._backoff = Backoff(longest=2.0)
        self._began_at = time.monotonic()
        self._wake = asyncio.Event()
        self.window_start = window_start
        self.ids = ids
        self.record: Record | None = None
        self.is_over = False

    @property
    def host(self) -> str:
        """In whose name it is closed."""
        return self._markers.host

    @property
    def is_sent(self) -> bool:
        """Whether all ids of the host were in Redis when it was last looked at."""
        return self._closed or self.ids is None

    @property
    def lets_go(self) -> bool:
        """Whether the ids are needed no more, or stand in a spill (rule 8)."""
        ids = self.ids
        return ids is None or ids.count == 0 or isinstance(ids, SpilledIds) or self._is_resolved

    @property
    def _is_resolved(self) -> bool:
        """Whether a complete record stands, and one more window has passed since it was seen."""
        since = self._resolved_at
        return since is not None and time.monotonic() >= since + self._keys.seconds

    @property
    def _is_new(self) -> bool:
        """Whether it is one of the last two that ended."""
        return self.window_start >= self._parts.counter.published() - self._keys.seconds

    def begin_again(self) -> None:
        """Redis lost something: look whether the host is registered and complete still."""
        self._registered = self._closed = False
        self._wake.set()

    def turn_to(self, spilled: SpilledIds) -> None:
        """From here on the ids are in a spill, and not in the arena."""
        if self.ids is None:
            # It was let go while the spill was written.
            self._parts.spills.remove(spilled)
        else:
            self.ids = spilled

    def wake(self) -> None:
        """There is news of it."""
        self._wake.set()

    async def run(self, in_touch: asyncio.Event) -> None:
        """Go through its life, while Redis is there."""
        while not self.is_over:
            await in_touch.wait()
            self._wake.clear()
            try:
                if self._is_new:
                    pause = await self.step()
                else:
                    async with self._parts.places_of_old:
                        pause = await self.step()
                self._backoff.succeeded()
            except StoreError:
                self._backoff.failed()
                pause = self._backoff.remaining
            except StateLostError:
                self._parts.watch.lost("the state of a window was gone")
                self.begin_again()
                self._wake.clear()
                pause = _PACE
            except Exception as error:  # noqa: BLE001 - no surprise may end the life of a window
                if self._backoff.failed():
                    self._parts.notices.put(events.LEADER_STUMBLED, error=repr(error))
                pause = self._backoff.remaining
            # Not `wait_for`, which in Python 3.11 may swallow that the task is cancelled.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    async def step(self) -> float:
        """Do what is due; seconds until it is to be called again. Raises `StoreError`."""
        state = await self._parts.states.read(self.window_start)
        # By Redis's time too: what is written of a window that is older is gone at once.
        if self.expire(state.now / 1_000):
            return 0.0
        if self._was_left(state):
            self.ids = ArenaIds(self._parts.counter, self.window_start, 0)
        if self.ids is not None and not self._is_needless(state, self.ids):
            if not self._registered:
                await self._register(self.ids)
                state = await self._parts.states.read(self.window_start)
            state = await self._close(state, self.ids)
        self._markers.learn(self.window_start, dict(state.markers))
        if self._is_asked_for(state):
            attempt = await self._parts.committer.attempt(
                self.window_start, state, self._asked_at, self.host
            )
            if attempt is Attempt.LOST:
                raise StateLostError
            if attempt is not Attempt.NOT_DUE:
                state = await self._parts.states.read(self.window_start)
        if state.record is not None:
            await self._see(state.record, state)
        self._judge(state)
        return self._pace(state)

    def provisional(self, now: float) -> None:
        """Hand the host's own count on, if there is no record for too long (rule 11)."""
        patience = self._parts.settings.cluster_grace + PROVISIONAL_SECONDS
        since_end = now - self._keys.end(self.window_start)
        # After a restart the record may have been there for long, and takes a moment to be read.
        since_begin = time.monotonic() - self._began_at
        if self._handed or self._figures is None or self.ids is None:
            return
        if min(since_end, since_begin) >= patience:
            self._parts.feed.add(
                ClusterWindow.of(
                    self._figures,
                    unique=self._figures.unique,
                    revision=0,
                    degraded=True,
                    delivers=False,
                )
            )
            self._handed = (0, False)

    def expire(self, now: float) -> bool:
        """End it, if its ids are as old as those of others in Redis may be; whether it is over."""
        keep = self._parts.settings.redis_keep
        if not self.is_over and now >= self._keys.end(self.window_start) + keep:
            if self.ids is not None and self.ids.count and not self._is_resolved:
                self._parts.notices.put(
                    events.WINDOW_EXPIRED, window_start=self.window_start, ids=self.ids.count
                )
            self._end()
        return self.is_over

    def _end(self) -> None:
        self.is_over = True
        self._closing.forget(self.window_start)
        if isinstance(self.ids, SpilledIds):
            self._parts.spills.remove(self.ids)
        self.ids = None

    def _is_needless(self, state: WindowState, ids: Ids) -> bool:
        """Whether the record is complete without this host, which had no id to add."""
        record = state.record
        return (
            ids.count == 0
            and self.host not in state.hosts
            and record is not None
            and record.complete
            and not state.asks_for_revision
        )

    def _was_left(self, state: WindowState) -> bool:
        """Whether a leader let it go, for having no ids here, and did not come to close it."""
        host_state = state.hosts.get(self.host)
        is_open = host_state is not None and not host_state.complete
        return (
            is_open and self.ids is None and self._figures is not None and not self._figures.unique
        )

    async def _register(self, ids: Ids) -> None:
        """Take part, as was done before the window started, unless that was lost."""
        states, markers = self._parts.states, self._markers
        if not await register(states, markers, self.window_start) and ids.count:
            # Then nobody may know which markers are among the ids.
            await register(states, markers, self.window_start, after_loss=True)
        self._registered = True

    async def _close(self, state: WindowState, ids: Ids) -> WindowState:
        """Have the host complete; the state after that."""
        host_state = state.hosts.get(self.host)
        if host_state is None:
            raise StateLostError
        if host_state.complete and (self._closed or self._was_closed(host_state, ids)):
            self._closed = True
            return state
        self._closed = False
        lane = self._parts.lane_of_new if self._is_new else self._parts.lane_of_old
        async with lane:
            # While this one waited for others they may have gone to a spill.
            ids = self.ids or ids
            try:
                state = await self._closing.close(self.window_start, ids)
            except (DamagedError, GoneError) as error:
                if self.ids is ids:
                    self._lose_ids(ids, error)
                return state
        if isinstance(ids, SpilledIds):
            self._parts.notices.put(
                events.SPILL_USED, window_start=self.window_start, ids=ids.count, path=ids.path
            )
        self._closed = True
        return state

    def _was_closed(self, host_state: HostState, ids: Ids) -> bool:
        """Whether an earlier leader closed it, and no id came after that."""
        if host_state.early:
            return False
        if ids.count == 0:
            return True
        acknowledged = self._parts.counter.acknowledged(self.window_start)
        return host_state.marker is not None and acknowledged == ids.count

    def _lose_ids(self, ids: Ids, error: DamagedError | GoneError) -> None:
        """The ids cannot be read: the window stays degraded, and is only watched from here on."""
        if isinstance(error, DamagedError):
            self._parts.spills.set_aside(error)
        self._parts.notices.put(
            events.WINDOW_IDS_GONE, window_start=self.window_start, ids=ids.count
        )
        self._closing.forget(self.window_start)
        self.ids = None

    def _is_asked_for(self, state: WindowState) -> bool:
        """Whether this leader may make a revision, and there is one to make."""
        asked = state.record is None or state.asks_for_revision
        if not asked:
            self._asked_at = None
        elif self._asked_at is None:
            self._asked_at = state.now
        return asked and self._stands_complete(state)

    def _stands_complete(self, state: WindowState) -> bool:
        """Whether all ids of the host were there when this was read."""
        host_state = state.hosts.get(self.host)
        return host_state is not None and host_state.complete

    async def _see(self, record: Record, state: WindowState) -> None:
        """Hand a record on, and have it delivered."""
        self.record = record
        self._parts.records.see(self.window_start, record)
        own = self._parts.host_table.info.id
        if record.deliverer not in {None, own} and (
            state.now - record.delivery_since > DELIVERY_MILLISECONDS
        ):
            lines = await self._parts.host_table.read()
            if not is_alive(record.deliverer or "", lines, self._parts.host_table.silent_ms):
                step = await self._parts.states.take_over(self.window_start, own, record)
                if step.outcome is Outcome.TAKEN_OVER and step.state.record is not None:
                    self.record = record = step.state.record
        has_sinks = bool(of_scope(self._parts.settings, Scope.CLUSTER))
        delivers = record.deliverer == own and has_sinks
        self._hand_on(record, delivers=delivers)
        if record.deliverer == own and (
            not delivers
            or await asyncio.to_thread(self._parts.feed.is_delivered, self._key, record.revision)
        ):
            step = await self._parts.states.delivered(self.window_start, record.revision)
            if step.state.record is not None:
                self.record = step.state.record
                self._parts.records.see(self.window_start, step.state.record)

    @property
    def _key(self) -> Key:
        return Key(self.window_start, self._keys.seconds)

    def _hand_on(self, record: Record, *, delivers: bool) -> None:
        """Give each revision to the log and the ledger once, and once more if it is to deliver."""
        handed = self._handed or (-1, False)
        if (record.revision, delivers) <= handed or (self._figures is None and not delivers):
            return
        figures = self._figures or Window(
            window_start=self.window_start, window_seconds=self._keys.seconds, unique=0
        )
        self._parts.counter.note_cluster_count(self.window_start, record.count, final=True)
        self._parts.feed.add(
            ClusterWindow.of(
                figures,
                unique=record.count,
                revision=record.revision,
                degraded=not record.complete,
                delivers=delivers,
            )
        )
        self._handed = (record.revision, delivers)

    def _judge(self, state: WindowState) -> None:
        """Whether there is nothing more to do."""
        record = self.record
        if record is None or state.record is None:
            self._resolved_at = None
            # Nobody knows of such a window, as far as this host can tell.
            if self.ids is None and not state.hosts:
                self._end()
            return
        is_quiet = not state.asks_for_revision and record.deliverer is None
        stands = self.ids is None or self._stands_complete(state)
        if not record.complete or state.asks_for_revision or not stands:
            self._resolved_at = None
        elif self._resolved_at is None:
            self._resolved_at = time.monotonic()
        if is_quiet and (self.ids is None or self._is_resolved):
            self._end()

    def _pace(self, state: WindowState) -> float:
        """Seconds until the next look: few while something is about to happen."""
        age = state.now / 1_000 - self._keys.end(self.window_start)
        if age < self._parts.settings.cluster_grace + PROVISIONAL_SECONDS:
            return _PACE
        delivers = (
            self.record is not None and self.record.deliverer == self._parts.host_table.info.id
        )
        if state.asks_for_revision or self._parts.watch.is_quiet:
            return 2 * _PACE
        if delivers:
            # A broker that is away may be so for long, and leave many.
            return min(_SLOWEST, max(2 * _PACE, age / 20))
        return _SLOW if age < _OLD_SECONDS else _SLOWEST
