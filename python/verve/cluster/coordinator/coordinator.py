"""The leader's work in a cluster: all windows, from before their start until their release.

It runs one event loop in a thread of its own. Accepts never wait for it, and no failure ends it: a
step that fails is taken again, and while Redis is away the steps that need no Redis go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING

from verve import stores
from verve._verve import ClosedError, VerveError
from verve.cluster.protocol.host_completion import HostCompletion
from verve.cluster.protocol.loss_detector import LossDetector, RecentRecords
from verve.cluster.protocol.markers import Markers
from verve.cluster.protocol.record_committer import RecordCommitter
from verve.cluster.redis_state.cluster_state import ClusterState
from verve.cluster.redis_state.hosts import HostInfo
from verve.cluster.redis_state.keys import Keys
from verve.cluster.runtime.event_loop import run_on_loop
from verve.cluster.runtime.machine import Machine
from verve.cluster.runtime.tasks import cancel_all
from verve.cluster.spill.spills import Spills
from verve.log import events
from verve.sinks import Scope, of_scope
from verve.status import cluster_status
from verve.status.cluster_status import Report
from verve.stores.base import StoreError
from verve.windows.release import ArenaRelease, Keeper

from .clock_sync import ClockSync
from .current_count import CurrentCount
from .event_counts import EventCounts
from .heartbeat import Heartbeat
from .loss_recovery import LossRecovery
from .publication import Publication
from .registrar import Registrar
from .status_report import StatusReport
from .window_task import Lanes, WindowTask
from .windows import Windows
from .work import LOCAL_SECONDS, Work

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from verve._verve import Counter
    from verve.cluster.cluster_window import ClusterNote
    from verve.cluster.interfaces import Connect, Feed, Lease
    from verve.cluster.spill.arena_ids import Ids
    from verve.config import Settings
    from verve.log.background import Notices
    from verve.windows.window import Window

_LEAVE_SECONDS = 1.0
_SHORTEST_PAUSE = 0.001


@dataclass(slots=True, eq=False)
class Coordinator:
    """Counts with the other hosts, for one term of a leader.

    `connect` gives the client of Redis and the store, on the event loop that uses them.
    """

    counter: Counter
    settings: Settings
    lease: Lease
    feed: Feed
    notices: Notices
    connect: Connect = stores.connect
    machine: Machine = field(default_factory=Machine)
    release: ArenaRelease | None = None
    """What else needs the ids of windows; by default nothing does."""
    archive: Callable[[ClusterNote], None] | None = None
    """Takes notes for the archive, from the thread of this loop."""

    work: Work | None = field(default=None, init=False)
    """The tasks of the event loop that runs, or ran last."""
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False)
    _over: asyncio.Event | None = field(default=None, init=False)
    _stopped: threading.Event = field(default_factory=threading.Event, init=False)
    _leaves: bool = field(default=False, init=False)

    def run(self) -> None:
        """Work until `stop`, or until the lease is lost: the body of a thread."""
        backoff = self.machine.backoff(5.0)
        while self._holds():
            try:
                run_on_loop(self.serve())
            except ClosedError:
                return
            except Exception as error:  # noqa: BLE001 - the thread must outlive any surprise
                if backoff.failed():
                    self.notices.put(events.LEADER_STUMBLED, error=repr(error))
                self._stopped.wait(min(LOCAL_SECONDS * 10, backoff.remaining))

    def stop(self, *, leaves: bool = False) -> None:
        """End `run` soon, from any thread. `leaves`: this host stops, so none need wait for it."""
        self._leaves = leaves
        self._stopped.set()
        loop, over = self._loop, self._over
        if loop is not None and over is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                loop.call_soon_threadsafe(over.set)

    def _holds(self) -> bool:
        """Whether the term goes on."""
        return not self._stopped.is_set() and self.lease.holds()

    async def serve(self) -> None:
        """Work until `stop`, until the lease is lost or until a task ends: the body of a loop."""
        self._over = over = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.counter.retention.enable()
        self.counter.reference_clock.follow()
        self.work = work = self.assemble()
        tasks = [asyncio.create_task(self._repeat(step, seconds)) for step, seconds in work.steps()]
        try:
            while self._holds():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._until_next(LOCAL_SECONDS)):
                        await over.wait()
                if any(task.done() for task in tasks):
                    # They never end by themselves: `run` begins anew.
                    break
            if self._leaves and self.lease.holds():
                # A heartbeat that is under way would put the line back.
                await cancel_all(tasks)
                with contextlib.suppress(TimeoutError, VerveError):
                    async with asyncio.timeout(_LEAVE_SECONDS):
                        await work.leave()
        finally:
            await cancel_all([*tasks, *work.windows.tasks()])
            with contextlib.suppress(StoreError):
                await work.cluster.close()

    async def _repeat(self, step: Callable[[], Awaitable[None]], seconds: float) -> None:
        """Take a step again and again; one that fails is repeated after a growing pause."""
        backoff = self.machine.backoff(1.0)
        while True:
            try:
                await step()
                backoff.succeeded()
            except StoreError:
                # The heartbeat reports it.
                backoff.failed()
            except ClosedError:
                self._stopped.set()
                return
            except Exception as error:  # noqa: BLE001 - the loop must outlive any surprise
                if backoff.failed():
                    self.notices.put(events.LEADER_STUMBLED, error=repr(error))
            await asyncio.sleep(max(self._until_next(seconds), backoff.remaining))

    def _until_next(self, seconds: float) -> float:
        """Time until the next multiple of `seconds`: so all steps wake the thread together."""
        # The remainder of a float may fall short of `seconds` by next to nothing.
        return max(_SHORTEST_PAUSE, seconds - self.machine.monotonic() % seconds)

    def assemble(self) -> Work:
        """The tasks of a term. They belong to the running event loop."""
        counter, settings, machine = self.counter, self.settings, self.machine
        client, store = self.connect(settings)
        notices = EventCounts(self.notices)
        identity = counter.stats()["identity"]
        info = HostInfo(identity, machine.host_name, version("verve-counter"))
        cluster = ClusterState(client, store, Keys(settings.cluster, settings.window), info)
        losses = LossDetector(notices, machine.monotonic, cluster_status.live(settings, identity))
        records = RecentRecords()
        spills = Spills(settings, identity, notices, machine)
        markers = Markers(identity, self.lease.term)
        completion = HostCompletion(counter, cluster, markers, notices, machine)
        owner = f"{identity}.{machine.token()}"
        new_task = partial(
            WindowTask,
            cluster=cluster,
            losses=losses,
            committer=RecordCommitter(
                cluster, losses, notices, owner, settings.cluster_grace * 1_000
            ),
            publication=Publication(
                counter,
                cluster,
                self.feed,
                records,
                machine,
                has_cluster_sinks=bool(of_scope(settings, Scope.CLUSTER)),
                archive=self.archive,
            ),
            spills=spills,
            lanes=Lanes(),
            notices=notices,
            machine=machine,
            grace_seconds=settings.cluster_grace,
            keep_seconds=settings.redis_keep,
        )

        def new_window(
            markers: Markers, window_start: int, figures: Window | None, ids: Ids | None
        ) -> WindowTask:
            its = completion
            if markers is not its.markers:
                its = HostCompletion(counter, cluster, markers, notices, machine)
            return new_task(window_start=window_start, figures=figures, ids=ids, completion=its)

        release = self.release or ArenaRelease(counter, {Keeper.CLUSTER})
        windows = Windows(counter, markers, spills, machine, new_window, release)
        clock_sync = ClockSync(counter, client, machine)
        registrar = Registrar(counter, cluster, losses, completion)
        recovery = LossRecovery(cluster, losses, records, self.feed, windows, registrar, machine)
        heartbeat = Heartbeat(
            counter, cluster, losses, recovery, windows, clock_sync, notices, machine
        )
        current_count = CurrentCount(counter, cluster, markers)
        status_report = StatusReport(
            Report(settings, machine),
            self.lease,
            heartbeat,
            clock_sync,
            registrar,
            current_count,
            windows,
            spills,
            notices,
            machine,
        )
        return Work(
            cluster,
            losses,
            spills,
            windows,
            heartbeat,
            clock_sync,
            registrar,
            current_count,
            status_report,
        )
