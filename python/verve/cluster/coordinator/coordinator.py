"""The leader's work in a cluster: all windows, from before their start until they are let go.

It runs one event loop in a thread of its own. Accepts never wait for it, and no failure ends it: a
window whose turn goes wrong is tried again, and while Redis is away the loop goes on with what
needs none.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from verve import stores
from verve._verve import ClosedError, VerveError, boot_nanoseconds
from verve.backoff import Backoff
from verve.cluster.protocol import clock
from verve.cluster.protocol.markers import mark, register
from verve.cluster.redis_state.hosts import HEARTBEAT_SECONDS, ClusterError
from verve.cluster.redis_state.window_state import DONE, Outcome, Record
from verve.cluster.runtime.event_loop import run_on_loop
from verve.cluster.runtime.tasks import cancel_all
from verve.log import events
from verve.status.cluster_status import Membership, Report
from verve.stores.base import StoreError

from .parts import assemble
from .windows import Windows

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from verve._verve import Counter
    from verve.cluster.interfaces import Feed, Lease
    from verve.cluster.redis_state.hosts import HostLines
    from verve.config import Settings
    from verve.log.background import Notices
    from verve.windows.window import Window

    from .parts import Connect, Parts

AHEAD = 2
"""Windows that are registered before they start."""
_LOCAL_PACE = 0.05
_AHEAD_PACE = 0.1
_COUNT_PACE = 0.5
_REPORT_PACE = 0.2
_LEAVE_SECONDS = 1.0
_FORGET_EVERY = 3_600.0
_REMEMBERED = 64
"""RecentRecords of the ledger that are put back into a Redis that lost them."""


class Coordinator:
    """Counts along with the other hosts, for one term of a leader.

    `connect` gives the client of Redis and the store, on the loop that they are used from.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what it stands between
        self,
        counter: Counter,
        settings: Settings,
        lease: Lease,
        feed: Feed,
        notices: Notices,
        connect: Connect = stores.connect,
    ) -> None:
        self._counter = counter
        self._settings = settings
        self._lease = lease
        self._feed = feed
        self._notices = notices
        self._connect = connect
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Event | None = None
        self._stopped = False
        self._leaves = False
        self.refusal: str | None = None
        """Why this host may not be one of the cluster, if it may not."""
        self.error: StoreError | None = None
        """What keeps Redis from answering, if something does."""
        self.attempts = 0
        """Heartbeats that failed in a row."""
        self.has_joined = False
        """Whether the current window was registered since this leader began."""
        self.skew_seconds: float | None = None
        """How far the wall clock of this host is ahead of Redis's time, if that was seen."""
        self.counted: int | None = None
        """When the cluster's count was read last, in nanoseconds since the boot."""
        self.lines: HostLines | None = None
        """The hosts, as of the last heartbeat."""

    def run(self) -> None:
        """Work until `stop`, or until the lease is lost: the body of a thread."""
        backoff = Backoff(longest=5.0)
        while not self._stopped and self._lease.holds():
            try:
                run_on_loop(self._main())
            except ClosedError:
                return
            except Exception as error:  # noqa: BLE001 - the thread must outlive any surprise
                if backoff.failed():
                    self._notices.put(events.LEADER_STUMBLED, error=repr(error))
                time.sleep(min(_LOCAL_PACE * 10, backoff.remaining))

    def stop(self, *, leaves: bool = False) -> None:
        """End `run` soon. `leaves`: this host stops, so nobody should wait for it."""
        self._leaves = leaves
        self._stopped = True
        loop, over = self._loop, self._over
        if loop is not None and over is not None:
            with contextlib.suppress(RuntimeError):  # it ended by itself
                loop.call_soon_threadsafe(over.set)

    async def _main(self) -> None:
        self._over = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._counter.retain(True)  # noqa: FBT003 - it takes no name
        self._counter.follow_reference()
        parts = assemble(
            self._counter,
            self._settings,
            self._lease,
            self._feed,
            self._notices,
            self._connect,
        )
        turns = _Turns(self, parts)
        windows = turns.windows
        tasks = [
            asyncio.create_task(self._repeat(turn, pace))
            for turn, pace in (
                (windows.tend, _LOCAL_PACE),
                (turns.spill, _LOCAL_PACE),
                (turns.beat, HEARTBEAT_SECONDS),
                (turns.steer, clock.EVERY_SECONDS),
                (turns.ahead, _AHEAD_PACE),
                (turns.count, _COUNT_PACE),
                (turns.report, _REPORT_PACE),
            )
        ]
        try:
            while not self._stopped and self._lease.holds():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_until_next(_LOCAL_PACE)):
                        await self._over.wait()
                if any(task.done() for task in tasks):
                    # They take turns for ever: `run` begins anew.
                    break
            if self._leaves and self._lease.holds():
                # A heartbeat that is under way would put the line back.
                await cancel_all(tasks)
                with contextlib.suppress(TimeoutError, VerveError):
                    async with asyncio.timeout(_LEAVE_SECONDS):
                        await turns.leave()
        finally:
            await cancel_all([*tasks, *windows.tasks()])
            with contextlib.suppress(StoreError):
                await parts.close()

    async def _repeat(self, turn: Callable[[], Awaitable[None]], pace: float) -> None:
        """Take turns for ever; what fails is tried again after a pause that grows."""
        backoff = Backoff(longest=1.0)
        while True:
            try:
                await turn()
                backoff.succeeded()
            except StoreError:
                # The heartbeat tells of it.
                backoff.failed()
            except ClosedError:
                self._stopped = True
                return
            except Exception as error:  # noqa: BLE001 - the loop must outlive any surprise
                if backoff.failed():
                    self._notices.put(events.LEADER_STUMBLED, error=repr(error))
            await asyncio.sleep(max(_until_next(pace), backoff.remaining))


def _until_next(pace: float) -> float:
    """Seconds until the next multiple of `pace`: all who take turns wake the thread together."""
    return pace - time.monotonic() % pace


class _Turns:
    """What is done over and over, each by a task of its own."""

    def __init__(self, coordinator: Coordinator, parts: Parts) -> None:
        self._reconciler = coordinator
        self._parts = parts
        self._report = Report(parts.settings)
        self._has_steered = False
        self._counter = parts.counter
        self._forgot_at = 0.0
        self._backoff = Backoff(longest=1.0)
        self._ahead: set[int] = set()
        self._losses = -1
        self._known: set[str] | None = None
        self.windows = Windows(parts)
        self._since = self._current()

    def _current(self) -> int:
        """Start of the window that runs, whether or not there is an arena for it."""
        return int(self._counter.now()) // self._counter.window * self._counter.window

    async def spill(self) -> None:
        """Write windows to disk whose arenas are needed."""
        await self.windows.spill()

    async def beat(self) -> None:
        """Renew the line of this host, see what changed, and notice what was lost."""
        parts = self._parts
        try:
            skew = int((self._reconciler.skew_seconds or 0) * 1_000)
            since = min(self._since, self.windows.oldest())
            touch = parts.watch.in_touch_since
            lines = await parts.host_table.renew(since, self.windows.unsent(), skew, touch)
            epochs = await parts.store.epochs()
            self._reconciler.refusal = None
            self._back()
            parts.watch.heartbeat(lines, epochs)
            parts.states.masters = parts.client.masters
            await self._repair()
            self._meet(lines)
            if time.monotonic() - self._forgot_at > _FORGET_EVERY:
                self._forgot_at = time.monotonic()
                await parts.host_table.forget_old(lines)
            if self.windows.has_looked:
                self.windows.look_at(await parts.changes.news())
        except ClusterError as error:
            self._refused(error)
        except StoreError as error:
            self._away(error)
            raise
        else:
            self.windows.in_touch.set()

    async def steer(self) -> None:
        """Follow the time of Redis."""
        found = await clock.sample(self._parts.client, self._counter.boot)
        if found is not None:
            self._counter.steer(found.offset)
            skew = clock.skew_ns(found.offset, self._counter.boot)
            self._reconciler.skew_seconds = skew / 1e9
        self._has_steered = True

    async def ahead(self) -> None:
        """Register the current window and those to come, these with a marker that is trusted."""
        await self.windows.in_touch.wait()
        parts, current = self._parts, self._current()
        seconds = self._counter.window
        self._ahead = {start for start in self._ahead if start >= current}
        if current not in self._ahead:
            await register(
                parts.states,
                parts.markers,
                current,
                is_open=True,
                after_loss=parts.watch.losses > 0,
            )
            self._ahead.add(current)
            self._reconciler.has_joined = True
        for start in range(current + seconds, current + (AHEAD + 1) * seconds, seconds):
            if start in self._ahead:
                continue
            trust = await mark(parts.states, parts.store, parts.markers, start, is_open=True)
            # Not a moment later: ids that came before the marker would not be vouched for.
            if self._counter.now() < start:
                parts.markers.trust(start, trust)
            self._ahead.add(start)

    async def count(self) -> None:
        """Note what all hosts have counted in the current window so far."""
        await self.windows.in_touch.wait()
        parts, current = self._parts, self._current()
        # Remembered by all, so that a marker is known even if the state and its host are lost.
        state = await parts.states.read(current)
        parts.markers.learn(current, dict(state.markers))
        stored = await parts.store.count(current, parts.markers.known(current).keys())
        self._counter.note_cluster_count(current, stored.ids)
        self._reconciler.counted = boot_nanoseconds()

    async def report(self) -> None:
        """Have every process of the host know how it does."""
        found, told = self._reconciler, self._parts.notices
        member = Membership(
            term=self._parts.term,
            counted=found.counted,
            joined=found.has_joined and self._has_steered,
            refusal=found.refusal,
            error=None if found.error is None else str(found.error),
            trouble=None if found.error is None else str(found.error.kind),
            attempts=found.attempts,
            skew_seconds=found.skew_seconds,
            unsent_windows=self.windows.unsent(),
            live_hosts=len(self._known or ()),
            revisions=told.revisions,
            degraded_windows=told.told(events.WINDOW_DEGRADED),
            resent_ids=told.resent_ids,
            disturbances=told.told(events.CLUSTER_DISTURBED),
        )
        # In a thread: the disk may be slow.
        await asyncio.to_thread(self._report, member, self._parts.spills.usage)

    async def leave(self) -> None:
        """Take the line of this host away. If all of its ids are in Redis, say that too.

        When it comes back within one of these windows, it registers as open again.
        """
        parts, current = self._parts, self._current()
        await self.windows.close_early(current)
        for start in self._ahead - {current}:
            await parts.states.complete(start, parts.host_table.info.id, None, "-", early=True)
        await parts.host_table.leave()

    async def _repair(self) -> None:
        """After a loss, and at the start: put records back, register and close all again."""
        parts = self._parts
        if parts.watch.losses == self._losses:
            return
        if self._losses < 0:
            known = await asyncio.to_thread(parts.feed.known)
            for window in known[:_REMEMBERED]:
                self._remember(window)
            self.windows.take_up(known)
        losses = parts.watch.losses
        for start, record in reversed(parts.records.all()):
            step = await parts.states.restore(start, record)
            if step.outcome is Outcome.RESTORED:
                await parts.changes.note(start)
        self._ahead.clear()
        self.windows.begin_again()
        self._losses = losses

    def _remember(self, window: Window) -> None:
        """A record of the ledger, as it would stand in Redis."""
        if window.revision > 0 and window.window_seconds == self._counter.window:
            own = self._parts.host_table.info.id
            record = Record(window.revision, window.unique, not window.degraded, own, DONE)
            self._parts.records.see(window.window_start, record)

    def _away(self, error: StoreError) -> None:
        self.windows.in_touch.clear()
        self._reconciler.error = error
        is_news = self._backoff.failed()
        self._reconciler.attempts = self._backoff.attempts
        if is_news:
            self._parts.notices.put(events.REDIS_AWAY, error=error, attempts=self._backoff.attempts)

    def _back(self) -> None:
        self._reconciler.error, self._reconciler.attempts = None, 0
        if failed := self._backoff.succeeded():
            self._parts.notices.put(events.REDIS_BACK, attempts=failed)

    def _refused(self, error: ClusterError) -> None:
        self._back()
        self.windows.in_touch.clear()
        if self._reconciler.refusal is None:
            self._parts.notices.put(events.CLUSTER_REFUSED, error=error)
        self._reconciler.refusal = str(error)

    def _meet(self, lines: HostLines) -> None:
        """Tell who came and who went."""
        self._reconciler.lines = lines
        if self._parts.watch.is_quiet and self._parts.watch.losses:
            # The lines may just have been lost, all of them.
            return
        silent = self._parts.host_table.silent_ms
        here = {host.id for host in lines.hosts.values() if lines.now - host.heartbeat <= silent}
        known = here if self._known is None else self._known
        for id in here - known:
            host = lines.hosts[id]
            self._parts.notices.put(
                events.HOST_JOINED, host_id=id, name=host.name, version=host.version
            )
        for id in known - here:
            left = id not in lines.hosts
            self._parts.notices.put(
                events.HOST_LEFT, host_id=id, how="stopped" if left else "is silent"
            )
        self._known = here
