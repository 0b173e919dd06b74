"""Redis loses something between two steps of closing and publishing, at every place there is.

Two hosts with clocks that stand still close one window. Before some call to Redis, something is
lost there. In the end there must be a complete record with the exact count, and both have seen it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.caller import FULL
from tests.fleet import Feed, Fence, Told, link, run
from tests.unit.rig import counter_of, settings
from verve import ManualClock
from verve.cluster.parts import assemble
from verve.cluster.reconciler import Reconciler, _Turns
from verve.stores.base import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.redis import RedisServer as Server

SECONDS = 60
GRACE = 600


class Still:
    """A host whose clock is moved by the test; its leader's turns are taken by `turn`."""

    def __init__(
        self,
        directory: Path,
        server: Server,
        cluster: str,
        start: int,
        before: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        directory.mkdir(parents=True)
        self.settings = settings(
            directory,
            cluster=cluster,
            cluster_grace=f"{GRACE}s",
            sinks="log,kafka",
            kafka_brokers="127.0.0.1:1",
        )
        self.clock = ManualClock(wall=start - 30.0)
        self.counter = counter_of(self.settings, self.clock)
        self.counter.send_new(100_000)
        self.feed, self.told, self.fence = Feed(), Told(), Fence()
        self.reconciler = Reconciler(
            self.counter,
            self.settings,
            self.fence,
            self.feed,
            self.told,  # type: ignore[arg-type] - it is put to, no more
            lambda made: link(server.port, made.cluster, made.window, before),
        )
        self.turns: _Turns
        self.before = before

    async def begin(self) -> None:
        """Join, and register what is to come."""
        self.counter.lead()
        self.counter.retain(True)
        self.parts = assemble(
            self.counter,
            self.settings,
            self.fence,
            self.feed,
            self.told,  # type: ignore[arg-type]
            self.reconciler._connect,
        )
        # Two seconds of quiet are over in a fifth of one.
        self.parts.watch._monotonic = lambda: time.monotonic() * 10
        self.turns = _Turns(self.reconciler, self.parts)
        await self.turn()

    async def turn(self) -> None:
        """Take each turn once."""
        self.counter.tend()
        for one in (self.turns.windows.tend, self.turns.beat, self.turns.ahead):
            if one == self.turns.ahead and not self.turns.windows.in_touch.is_set():
                continue
            with contextlib.suppress(StoreError):
                await one()

    async def count(self, ids: range, *, send: bool = True) -> None:
        """Count ids, and have them in Redis."""
        self.counter.add_many(ids)
        groups: dict[int, dict[int, list[bytes]]] = {}
        for window, shard, members in self.counter.take_new(100_000) if send else []:
            groups.setdefault(window, {}).setdefault(shard, []).extend(members)
        for window, its in groups.items():
            await self.parts.store.add(window, its)
            self.counter.acknowledge(window, sum(map(len, its.values())))

    def records(self, start: int) -> list[Any]:
        """What was handed on of the window."""
        return [w for w in self.feed.windows if w.window_start == start and w.revision]

    async def end(self) -> None:
        """End all tasks and connections."""
        tasks = self.turns.windows.tasks()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.parts.close()
        self.counter.close()


class Losing:
    """Loses something before call `at` to Redis, counted from `arm` on."""

    def __init__(self, lose: Callable[[], None], at: int) -> None:
        self._lose = lose
        self._at = at
        self._armed = False
        self.calls = 0

    def arm(self) -> None:
        """Begin to count."""
        self._armed = True

    async def __call__(self, _what: str) -> None:
        if self._armed:
            self.calls += 1
            if self.calls == self._at:
                self._lose()


def flush(server: Server, cluster: str, start: int) -> None:
    with server.ask() as redis:
        names = redis.keys(f"verve:*{cluster}:*")
        if names:
            redis.delete(*names)


def shard(server: Server, cluster: str, start: int) -> None:
    with server.ask() as redis:
        redis.delete(f"verve:{{{cluster}:60:{start}:3}}:ids")


def state(server: Server, cluster: str, start: int) -> None:
    with server.ask() as redis:
        redis.delete(f"verve:{{{cluster}:60:{start}}}:state")


def hosts(server: Server, cluster: str, start: int) -> None:
    with server.ask() as redis:
        redis.delete(f"verve:{{{cluster}:60}}:hosts")


def master(server: Server, cluster: str, start: int) -> None:
    with server.ask() as redis:
        redis.execute_command("DEBUG", "CHANGE-REPL-ID")


async def closed_with_loss(
    server: Server, cluster: str, directory: Path, lose: Callable[..., None], at: int
) -> int:
    """Have two hosts close a window with a loss before call `at`; how many calls there were."""
    start = int(time.time()) // SECONDS * SECONDS - SECONDS
    losing = Losing(lambda: lose(server, cluster, start), at)
    pair = [Still(directory / name, server, cluster, start, losing) for name in ("a", "b")]
    try:
        for still in pair:
            await still.begin()
        for still in pair:
            still.clock.advance(40)
            await still.turn()
        await pair[0].count(range(600))
        await pair[1].count(range(400, 1_000))
        for still in pair:
            still.clock.advance(SECONDS)
        losing.arm()
        until = time.monotonic() + 12
        good_since = None
        while good_since is None or time.monotonic() < good_since + 0.6:
            for still in pair:
                await still.turn()
            seen = [still.records(start) for still in pair]
            good = all(s and not s[-1].degraded and s[-1].unique == 1_000 for s in seen)
            good = good and losing.calls >= at
            good_since = (good_since or time.monotonic()) if good else None
            assert time.monotonic() < until, [s.told.events for s in pair]
            await asyncio.sleep(0.01)
        calls = losing.calls
        for still in pair:
            # A count that was told is never more than there is, nor is one as complete less.
            for window in still.records(start):
                assert window.unique <= 1_000
                assert window.degraded or window.unique == 1_000, still.records(start)
        found = await pair[0].parts.states.read(start)
        assert found.record is not None
        assert (found.record.count, found.record.complete) == (1_000, True)
        # What one revision says is the same on all hosts.
        told = {}
        for still in pair:
            for window in still.records(start):
                saying = (window.unique, window.degraded)
                assert told.setdefault(window.revision, saying) == saying
        return calls
    finally:
        for still in pair:
            await still.end()


@pytest.mark.timeout(590)
@pytest.mark.parametrize("lose", [flush, shard, state, hosts, master])
def test_nothing_is_wrong_after_a_loss_between_any_two_steps(
    server: Server, cluster: str, tmp_path: Path, lose: Callable[..., None]
) -> None:
    at, last = 1, 70
    while at < last:
        run(closed_with_loss(server, f"{cluster}-{at}", tmp_path / str(at), lose, at))
        at += 1 if FULL else 7


def test_a_window_is_closed_without_a_loss(server: Server, cluster: str, tmp_path: Path) -> None:
    def nothing(*_: object) -> None:
        """Lose nothing."""

    calls = run(closed_with_loss(server, cluster, tmp_path, nothing, 1))
    assert calls > 10
