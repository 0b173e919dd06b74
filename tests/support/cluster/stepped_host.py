"""A host whose clock the test moves, and whose leader takes single steps."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

from tests.support.cluster.in_process import EventRecorder, Feed, HeldLease, link
from tests.support.rig import counter_of, settings
from verve import CapacityError, ManualClock
from verve.cluster.coordinator.coordinator import Coordinator
from verve.cluster.runtime.tasks import cancel_all
from verve.stores.base import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.support.redis.server import RedisServer
    from verve.cluster.coordinator.work import Work

SECONDS = 60
GRACE = 600


class SteppedHost:
    """A host whose clock is moved by the test; `turn` takes one step of each of its tasks."""

    def __init__(  # noqa: PLR0913 - the settings of a host
        self,
        directory: Path,
        server: RedisServer,
        cluster: str,
        start: int,
        before: Callable[[str], Awaitable[None]] | None = None,
        *,
        grace: int = GRACE,
        term: int = 1,
        **flags: str,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.settings = settings(
            directory,
            cluster=cluster,
            cluster_grace=f"{grace}s",
            sinks="log,kafka",
            kafka_brokers="127.0.0.1:1",
            **flags,
        )
        self.settings.state_dir.mkdir(parents=True, exist_ok=True)
        self.clock = ManualClock(wall=start - 30.0)
        self.counter = counter_of(self.settings, self.clock)
        self.counter.replication.queue(100_000)
        self.feed, self.told, self.fence = Feed(), EventRecorder(), HeldLease(term)
        self.coordinator = Coordinator(
            self.counter,
            self.settings,
            self.fence,
            self.feed,
            self.told,
            lambda made: link(server.port, made.cluster, made.window, before),
        )
        self.work: Work
        self.before = before

    async def begin(self) -> None:
        """Join, and register the next windows."""
        self.counter.lease.acquire()
        self.counter.retention.enable()
        self.work = self.coordinator.assemble()
        # Two seconds of quiet are over in a fifth of one.
        self.work.losses._monotonic = lambda: time.monotonic() * 10
        await self.turn()

    async def turn(self) -> None:
        """Take one step of each task."""
        with contextlib.suppress(CapacityError):
            self.counter.maintenance.run()
        work = self.work
        for step in (work.windows.step, work.heartbeat.step, work.registrar.step):
            if step == work.registrar.step and not work.cluster.in_touch.is_set():
                continue
            with contextlib.suppress(StoreError):
                await step()

    async def turn_until(
        self, condition: Callable[[], Any], *others: SteppedHost, patience: float = 10
    ) -> None:
        """Take turns, and those of others, until a condition holds."""
        until = time.monotonic() + patience
        while not condition():
            for still in (self, *others):
                await still.turn()
            assert time.monotonic() < until, (self.told.events[-20:], self.feed.windows[-20:])
            await asyncio.sleep(0.01)

    async def count(self, ids: range, *, send: bool = True) -> None:
        """Count ids, and have them in Redis."""
        self.counter.add_many(ids)
        groups: dict[int, dict[int, list[bytes]]] = {}
        for window, shard, members in self.counter.replication.take(100_000) if send else []:
            groups.setdefault(window, {}).setdefault(shard, []).extend(members)
        for window, its in groups.items():
            await self.work.cluster.store.add(window, its)
            self.counter.replication.acknowledge(window, sum(map(len, its.values())))

    def records(self, start: int) -> list[Any]:
        """The published revisions of the window."""
        return [w for w in self.feed.windows if w.window_start == start and w.revision]

    async def replace_leader(self) -> None:
        """End the leader as if it had been killed, and begin the term of another one."""
        await self._end_leader()
        self.fence.term += 1
        await self.begin()

    async def _end_leader(self) -> None:
        await cancel_all(self.work.windows.tasks())
        await self.work.cluster.close()

    async def end(self) -> None:
        """End all tasks and connections."""
        await self._end_leader()
        self.counter.close()
