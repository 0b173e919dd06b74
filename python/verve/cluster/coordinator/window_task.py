"""One window after its end: completed, committed, published, delivered, released."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING

from verve.cluster.protocol.host_completion import StateLostError
from verve.cluster.protocol.markers import register
from verve.cluster.protocol.record_committer import Attempt
from verve.cluster.redis_state.window_state import HostStatus
from verve.cluster.spill.arena_ids import ArenaIds, GoneError
from verve.cluster.spill.spill_file import DamagedError, SpilledIds
from verve.log import events
from verve.stores.base import StoreError

from .publication import Published

if TYPE_CHECKING:
    from verve.backoff import Backoff
    from verve.cluster.protocol.host_completion import HostCompletion
    from verve.cluster.protocol.loss_detector import LossDetector
    from verve.cluster.protocol.record_committer import RecordCommitter
    from verve.cluster.redis_state.cluster_state import ClusterState
    from verve.cluster.redis_state.window_state import HostState, Record, WindowState
    from verve.cluster.runtime.machine import Machine
    from verve.cluster.spill.arena_ids import Ids
    from verve.cluster.spill.spills import Spills
    from verve.log.background import Notices
    from verve.windows.window import Window

    from .publication import Publication

PROVISIONAL_SECONDS = 2
"""Seconds after the grace until a window without a record is published with the host's count."""
OLD_AT_ONCE = 8
"""Old windows that talk to Redis at once."""
_QUICK = 0.05
_SLOW = 0.5
_SLOWEST = 5.0
_OLD_SECONDS = 600


class Stage(Enum):
    """What this host has still to do for a window.

    | stage      | ids kept | event                           | next stage |
    |------------|----------|---------------------------------|------------|
    | REGISTER   | yes      | registered in Redis             | COMPLETE   |
    | COMPLETE   | yes      | all ids in Redis                | KEEP       |
    | KEEP       | yes      | set back by a committer         | COMPLETE   |
    | COMPLETE, KEEP | yes  | Redis lost something            | REGISTER   |
    | with ids   | yes      | the ids cannot be read          | WATCH      |
    | WATCH      | no       | an earlier leader left it open  | REGISTER   |
    | any        |          | settled for good, or expired    | OVER       |
    """

    REGISTER = auto()
    """Register for the window."""
    COMPLETE = auto()
    """Have all ids in Redis, and note that there."""
    KEEP = auto()
    """Keep the ids until a complete record makes them needless."""
    WATCH = auto()
    """Follow the record only: there are no ids of this host."""
    OVER = auto()
    """Nothing."""


@dataclass(slots=True)
class Lanes:
    """Which windows may use Redis at once.

    A full send of an old window must not hold up that of the newest one, nor may many old windows
    hold up the heartbeat.
    """

    new: asyncio.Lock = field(default_factory=asyncio.Lock)
    old: asyncio.Lock = field(default_factory=asyncio.Lock)
    old_steps: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(OLD_AT_ONCE))


@dataclass(slots=True, eq=False, kw_only=True)
class WindowTask:
    """One window of one host.

    `figures` are this host's, if it has any. `ids` are None for a window that is only watched: it
    was released, or is from before this host's time. `grace_seconds`: how long late hosts are
    waited for. `keep_seconds`: how long after the end of a window its ids may be added to Redis.
    """

    window_start: int
    figures: Window | None
    ids: Ids | None
    completion: HostCompletion
    cluster: ClusterState
    losses: LossDetector
    committer: RecordCommitter
    publication: Publication
    spills: Spills
    lanes: Lanes
    notices: Notices
    machine: Machine
    grace_seconds: int
    keep_seconds: int

    stage: Stage = field(init=False)
    record: Record | None = field(default=None, init=False)
    published: Published = field(default_factory=Published, init=False)
    resolved_at: float | None = field(default=None, init=False)
    """When a complete record was seen that needs nothing more of this host."""
    _asked_at: int | None = field(default=None, init=False)
    _began_at: float = field(init=False)
    _backoff: Backoff = field(init=False)
    _news: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def __post_init__(self) -> None:
        """Begin."""
        self.stage = Stage.WATCH if self.ids is None else Stage.REGISTER
        self._began_at = self.machine.monotonic()
        self._backoff = self.machine.backoff(2.0)

    @property
    def host(self) -> str:
        """The host in whose name the window is completed."""
        return self.completion.markers.host

    @property
    def is_sent(self) -> bool:
        """Whether all ids of the host were in Redis when that was last looked at."""
        return self.stage in {Stage.KEEP, Stage.WATCH, Stage.OVER}

    @property
    def is_over(self) -> bool:
        """Whether it does nothing any more, not even follow its record."""
        return self.stage is Stage.OVER

    @property
    def is_releasable(self) -> bool:
        """Whether the arena is needed no more: no ids, a spill, or a complete record (rule 8)."""
        ids = self.ids
        return ids is None or ids.count == 0 or isinstance(ids, SpilledIds) or self._is_resolved

    @property
    def _is_resolved(self) -> bool:
        """Whether one more window has passed since `resolved_at`."""
        since = self.resolved_at
        return since is not None and self.machine.monotonic() >= since + self.cluster.keys.seconds

    @property
    def _end(self) -> int:
        return self.cluster.keys.end(self.window_start)

    @property
    def _is_new(self) -> bool:
        """Whether it is one of the last two windows that ended."""
        newest = self.completion.counter.ring.newest()
        return self.window_start >= newest - self.cluster.keys.seconds

    def begin_again(self) -> None:
        """Redis lost something: see whether the host is registered and complete still."""
        if self.stage in {Stage.COMPLETE, Stage.KEEP}:
            self.stage = Stage.REGISTER
        self._news.set()

    def use_spill(self, spilled: SpilledIds) -> None:
        """Read the ids from a spill from here on, not from the arena."""
        if self.ids is None:
            # The window was released while the spill was written.
            self.spills.remove(spilled)
        else:
            self.ids = spilled

    def wake(self) -> None:
        """Its record has changed."""
        self._news.set()

    async def run(self) -> None:
        """Take steps until the window is over, while Redis answers."""
        while not self.is_over:
            await self.cluster.in_touch.wait()
            self._news.clear()
            pause = await self._guarded_step()
            # Not `wait_for`, which in Python 3.11 may swallow that the task is cancelled.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._news.wait()

    async def _guarded_step(self) -> float:
        """A step that survives every error; seconds until the next one."""
        try:
            if self._is_new:
                pause = await self.step()
            else:
                async with self.lanes.old_steps:
                    pause = await self.step()
            self._backoff.succeeded()
        except StoreError:
            self._backoff.failed()
        except StateLostError:
            self.losses.lost("the state of a window was gone")
            self.begin_again()
            self._news.clear()
            return _QUICK
        except Exception as error:  # noqa: BLE001 - no surprise may end the task of a window
            if self._backoff.failed():
                self.notices.put(events.LEADER_STUMBLED, error=repr(error))
        else:
            return pause
        return self._backoff.remaining

    async def step(self) -> float:
        """Do what is due; seconds until the next step. Raises `StoreError`, `StateLostError`."""
        windows = self.cluster.windows
        state = await windows.read(self.window_start)
        # By Redis's time too: what is written of an older window expires at once.
        if self.expire(state.now / 1_000):
            return 0.0
        if self._was_left_open(state):
            self.ids = ArenaIds(self.completion.counter, self.window_start, 0)
            self.stage = Stage.REGISTER
        if self.ids is not None and not self._is_needless(state, self.ids):
            if self.stage is Stage.REGISTER:
                await self._register(self.ids)
                state = await windows.read(self.window_start)
            state = await self._complete(state, self.ids)
        self.completion.markers.learn(self.window_start, state.markers)
        if self._is_commit_due(state):
            attempt = await self.committer.attempt(
                self.window_start, state, self._asked_at, self.host
            )
            if attempt is Attempt.LOST:
                raise StateLostError
            if attempt is not Attempt.NOT_DUE:
                state = await windows.read(self.window_start)
        if state.record is not None:
            await self._publish(state.record, state.now)
            if self.figures is not None:
                self.publication.tell_archive(self.window_start, state, self.record)
        self._settle(state)
        return self._pace(state)

    def publish_provisional(self, now: float) -> None:
        """Publish the host's own count, if there is no record for too long (rule 11)."""
        if self.published.revision >= 0 or self.figures is None or self.ids is None:
            return
        # After a restart the record may be there already, and takes a moment to be read.
        since = min(now - self._end, self.machine.monotonic() - self._began_at)
        if since >= self.grace_seconds + PROVISIONAL_SECONDS:
            self.published = self.publication.publish_provisional(self.figures)

    def expire(self, now: float) -> bool:
        """End it, if the ids of other hosts may have expired in Redis; whether it is over."""
        if not self.is_over and now >= self._end + self.keep_seconds:
            if self.ids is not None and self.ids.count and not self._is_resolved:
                self.notices.put(
                    events.WINDOW_EXPIRED, window_start=self.window_start, ids=self.ids.count
                )
            self._finish()
        return self.is_over

    def _finish(self) -> None:
        self.completion.forget(self.window_start)
        if isinstance(self.ids, SpilledIds):
            self.spills.remove(self.ids)
        self.ids, self.stage = None, Stage.OVER

    def _is_needless(self, state: WindowState, ids: Ids) -> bool:
        """Whether the record is complete without this host, which has no ids."""
        record = state.record
        return (
            ids.count == 0
            and self.host not in state.hosts
            and record is not None
            and record.complete
            and not state.asks_for_revision
        )

    def _was_left_open(self, state: WindowState) -> bool:
        """Whether an earlier leader released it, as it has no ids here, and did not complete it."""
        host, figures = state.hosts.get(self.host), self.figures
        is_open = host is not None and not host.complete
        return is_open and self.ids is None and figures is not None and not figures.unique

    async def _register(self, ids: Ids) -> None:
        """Register, as was done before the window started, unless Redis lost that."""
        markers = self.completion.markers
        if not await register(self.cluster, markers, self.window_start) and ids.count:
            # Then Redis may not know all markers among the ids.
            await register(self.cluster, markers, self.window_start, after_loss=True)
        if self.stage is Stage.REGISTER:
            self.stage = Stage.COMPLETE

    async def _complete(self, state: WindowState, ids: Ids) -> WindowState:
        """Have the host complete; the state after that."""
        host = state.hosts.get(self.host)
        if host is None:
            raise StateLostError
        if host.complete and (self.stage is Stage.KEEP or self._was_completed(host, ids)):
            self._completed()
            return state
        if self.stage is Stage.KEEP:
            self.stage = Stage.COMPLETE
        async with self.lanes.new if self._is_new else self.lanes.old:
            # While this window waited for others, its ids may have gone to a spill.
            ids = self.ids or ids
            try:
                state = await self.completion.complete(self.window_start, ids)
            except (DamagedError, GoneError) as error:
                if self.ids is ids:
                    self._lose_ids(ids, error)
                return state
        if isinstance(ids, SpilledIds):
            self.notices.put(
                events.SPILL_USED, window_start=self.window_start, ids=ids.count, path=ids.path
            )
        self._completed()
        return state

    def _completed(self) -> None:
        # Unless Redis lost something, or the window ended, in the meantime.
        if self.stage is Stage.COMPLETE:
            self.stage = Stage.KEEP

    def _was_completed(self, host: HostState, ids: Ids) -> bool:
        """Whether an earlier leader completed the host, and no id came after that."""
        if host.status is HostStatus.LEFT_EARLY:
            return False
        if ids.count == 0:
            return True
        acknowledged = self.completion.counter.replication.acknowledged(self.window_start)
        return host.marker is not None and acknowledged == ids.count

    def _lose_ids(self, ids: Ids, error: DamagedError | GoneError) -> None:
        """The ids cannot be read: the window stays degraded, and is only watched from here on."""
        if isinstance(error, DamagedError):
            self.spills.set_aside(error)
        self.notices.put(events.WINDOW_IDS_GONE, window_start=self.window_start, ids=ids.count)
        self.completion.forget(self.window_start)
        self.ids, self.stage = None, Stage.WATCH

    def _is_commit_due(self, state: WindowState) -> bool:
        """Whether a record is wanted, and this host may commit it."""
        asked = state.record is None or state.asks_for_revision
        if not asked:
            self._asked_at = None
        elif self._asked_at is None:
            self._asked_at = state.now
        return asked and self._is_complete_in(state)

    def _is_complete_in(self, state: WindowState) -> bool:
        host = state.hosts.get(self.host)
        return host is not None and host.complete

    async def _publish(self, record: Record, now: int) -> None:
        """Publish a record, and have it delivered."""
        record = await self.publication.put_back(self.window_start, record)
        self.record = record
        self.record = await self.publication.take_over(self.window_start, record, now)
        self.published = self.publication.publish(
            self.window_start, self.figures, self.record, self.published
        )
        self.record = await self.publication.note_delivery(self.window_start, self.record)

    def _settle(self, state: WindowState) -> None:
        """Note whether the record needs nothing more, and end the window if so."""
        record = self.record
        if record is None or state.record is None:
            self.resolved_at = None
            # As far as this host can tell, no host ever had such a window.
            if self.ids is None and not state.hosts:
                self._finish()
            return
        is_settled = not state.asks_for_revision and record.deliverer is None
        completes = self.ids is None or self._is_complete_in(state)
        if not record.complete or state.asks_for_revision or not completes:
            self.resolved_at = None
        elif self.resolved_at is None:
            self.resolved_at = self.machine.monotonic()
        # News that came since the state was read are looked at first.
        if is_settled and (self.ids is None or self._is_resolved) and not self._news.is_set():
            self._finish()

    def _pace(self, state: WindowState) -> float:
        """Seconds until the next step: few while something is about to happen."""
        age = state.now / 1_000 - self._end
        if age < self.grace_seconds + PROVISIONAL_SECONDS:
            return _QUICK
        if state.asks_for_revision or self.losses.is_quiet:
            return 2 * _QUICK
        if self.record is not None and self.record.deliverer == self.cluster.own_id:
            # A broker may be away for long, and leave many windows to be delivered.
            return min(_SLOWEST, max(2 * _QUICK, age / 20))
        return _SLOW if age < _OLD_SECONDS else _SLOWEST
