"""Redis loses something between two steps of a completion and commit, at each place in turn.

Two hosts with clocks that stand still close one window. Before some call to Redis, something is
lost there. In the end there must be a complete record with the exact count, and both have seen it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.caller import FULL
from tests.support.cluster.in_process import run
from tests.support.cluster.stepped_host import SECONDS, SteppedHost
from verve.cluster.coordinator.window_task import Stage
from verve.status import cluster_status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from tests.support.redis.server import RedisServer
    from verve.cluster.cluster_window import ClusterWindow


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
        """A call is about to be made."""
        if self._armed:
            self.calls += 1
            if self.calls == self._at:
                self._lose()


def flush(server: RedisServer, cluster: str, _start: int) -> None:
    with server.ask() as redis:
        names = redis.keys(f"verve:*{cluster}:*")
        if names:
            redis.delete(*names)


def shard(server: RedisServer, cluster: str, start: int) -> None:
    with server.ask() as redis:
        redis.delete(f"verve:{{{cluster}:60:{start}:3}}:ids")


def marks(server: RedisServer, cluster: str, start: int) -> None:
    """Evict what says which members of the sets are no ids."""
    with server.ask() as redis:
        names = [f"verve:{{{cluster}:60:{start}:{shard}}}:marks" for shard in range(16)]
        redis.delete(f"verve:{{{cluster}:60:{start}}}:state", *names)


def state(server: RedisServer, cluster: str, start: int) -> None:
    with server.ask() as redis:
        redis.delete(f"verve:{{{cluster}:60:{start}}}:state")


def hosts(server: RedisServer, cluster: str, _start: int) -> None:
    with server.ask() as redis:
        redis.delete(f"verve:{{{cluster}:60}}:hosts")


def master(server: RedisServer, _cluster: str, _start: int) -> None:
    with server.ask() as redis:
        redis.execute_command("DEBUG", "CHANGE-REPL-ID")


async def closed_with_loss(
    server: RedisServer, cluster: str, directory: Path, lose: Callable[..., None], at: int
) -> int:
    """Have two hosts close a window with a loss before call `at`; how many calls there were."""
    start = int(time.time()) // SECONDS * SECONDS - SECONDS
    losing = Losing(lambda: lose(server, cluster, start), at)
    async with joined_pair(directory, server, cluster, start, losing) as pair:
        await pair[0].count(range(600))
        await pair[1].count(range(400, 1_000))
        for still in pair:
            still.clock.advance(SECONDS)
        losing.arm()
        until = time.monotonic() + 40
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
        check_what_was_told([still.records(start) for still in pair])
        found = await pair[0].work.cluster.windows.read(start)
        assert found.record is not None
        assert (found.record.count, found.record.complete) == (1_000, True)
        return calls


def check_what_was_told(records: list[list[ClusterWindow]]) -> None:
    """No count was too high, none called complete too low; a revision says the same to all."""
    told: dict[int, tuple[int, bool]] = {}
    for record in (one for its in records for one in its):
        assert record.unique <= 1_000
        assert record.degraded or record.unique == 1_000, records
        saying = (record.unique, record.degraded)
        assert told.setdefault(record.revision, saying) == saying


@contextlib.asynccontextmanager
async def joined_pair(
    directory: Path,
    server: RedisServer,
    cluster: str,
    start: int,
    before: Callable[[str], Awaitable[None]] | None = None,
) -> AsyncIterator[tuple[SteppedHost, SteppedHost]]:
    """Two hosts that joined before the window of `start`, in which they are now."""
    one, other = (SteppedHost(directory / name, server, cluster, start, before) for name in "ab")
    try:
        for still in (one, other):
            await still.begin()
        for still in (one, other):
            still.clock.advance(40)
            await still.turn()
        yield one, other
    finally:
        for still in (one, other):
            await still.end()


async def until_both_have_all(one: SteppedHost, other: SteppedHost, start: int) -> None:
    """Take turns until both have published the count of a thousand ids."""
    pair = one, other
    await one.turn_until(
        lambda: all(any(w.unique == 1_000 for w in host.records(start)[-1:]) for host in pair),
        other,
        patience=30,
    )
    check_what_was_told([host.records(start) for host in pair])


async def only_degraded(host: SteppedHost, start: int) -> None:
    """Take turns for a while in which the host calls no count complete."""
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        await host.turn()
        assert all(record.degraded for record in host.records(start))
        await asyncio.sleep(0.01)


@pytest.mark.timeout(590)
@pytest.mark.parametrize("lose", [flush, shard, marks, state, hosts, master])
def test_nothing_is_wrong_after_a_loss_between_any_two_steps(
    server: RedisServer, cluster: str, tmp_path: Path, lose: Callable[..., None]
) -> None:
    at, last = 1, 260
    while at < last:
        run(closed_with_loss(server, f"{cluster}-{at}", tmp_path / str(at), lose, at), 60)
        # Most calls are those of the sixteen shards.
        at += 3 if FULL else 29


@pytest.mark.parametrize("has_ended", [False, True])
def test_a_host_that_leaves_with_unsent_ids_is_waited_for(
    server: RedisServer, cluster: str, tmp_path: Path, *, has_ended: bool
) -> None:
    """It is not registered, since Redis lost that, or its window has just ended."""

    async def steps() -> None:
        start = int(time.time()) // SECONDS * SECONDS - SECONDS
        async with joined_pair(tmp_path, server, cluster, start) as (stays, leaves):
            await stays.count(range(600))
            await leaves.count(range(400, 1_000), send=False)
            await leaves.work.status_report.step()
            assert len(cluster_status.live(leaves.settings, leaves.work.cluster.own_id)) == 2
            if has_ended:
                leaves.clock.advance(SECONDS)
            else:
                flush(server, cluster, start)
            await leaves.work.leave()
            assert cluster_status.live(leaves.settings, leaves.work.cluster.own_id) == frozenset()
            stays.clock.advance(SECONDS)
            await only_degraded(stays, start)
            state = await stays.work.cluster.windows.read(start)
            assert not state.hosts[leaves.work.cluster.own_id].complete
            if not has_ended:
                leaves.clock.advance(SECONDS)
            await leaves.replace_leader()
            await until_both_have_all(stays, leaves, start)

    run(steps(), 60)


def test_a_new_leader_waits_for_those_that_the_one_before_saw(
    server: RedisServer, cluster: str, tmp_path: Path
) -> None:
    """Redis forgot all hosts while this one had no leader, and the others are not back yet."""

    async def steps() -> None:
        start = int(time.time()) // SECONDS * SECONDS - SECONDS
        async with joined_pair(tmp_path, server, cluster, start) as (first, late):
            await first.count(range(600))
            await late.count(range(400, 1_000))
            await first.turn()
            await first.work.status_report.step()
            flush(server, cluster, start)
            await first.replace_leader()
            first.clock.advance(SECONDS)
            await only_degraded(first, start)
            late.clock.advance(SECONDS)
            await until_both_have_all(first, late, start)

    run(steps(), 60)


def test_a_loss_since_the_last_heartbeat_is_noticed_by_who_commits(
    server: RedisServer, cluster: str, tmp_path: Path
) -> None:
    async def steps() -> None:
        start = int(time.time()) // SECONDS * SECONDS - SECONDS
        async with joined_pair(tmp_path, server, cluster, start) as (first, late):
            await first.count(range(600), send=False)
            await late.count(range(400, 1_000))
            await asyncio.sleep(0.3)  # the quiet after the first heartbeat
            first.clock.advance(SECONDS)
            while start not in first.work.windows.own():
                first.counter.maintenance.run()
                await first.work.windows.step()
            # Its task has registered, and waits for the last ids to be acknowledged. Then it sends
            # all ids, behind a marker for which it registers, and would commit.
            await asyncio.sleep(0.05)
            for other, task in first.work.windows.own().items():
                if other != start:
                    # It would notice the loss in a moment, perhaps too late.
                    task.stage = Stage.OVER
            flush(server, cluster, start)
            until = time.monotonic() + 2
            while not first.work.losses.losses:
                assert not first.records(start)
                assert time.monotonic() < until
                await asyncio.sleep(0.01)
            await only_degraded(first, start)
            late.clock.advance(SECONDS)
            await until_both_have_all(first, late, start)

    run(steps(), 60)


def test_a_window_is_closed_without_a_loss(
    server: RedisServer, cluster: str, tmp_path: Path
) -> None:
    def nothing(*_: object) -> None:
        """Lose nothing."""

    calls = run(closed_with_loss(server, cluster, tmp_path, nothing, 1), 60)
    assert calls > 10


async def followed_by_a_successor(server: RedisServer, cluster: str, directory: Path) -> None:
    start = int(time.time()) // SECONDS * SECONDS - SECONDS
    async with joined_pair(directory, server, cluster, start) as (left, dead):
        await left.count(range(600))
        await dead.count(range(400, 1_000))
        # Each sees the line of the other.
        await left.turn()
        flush(server, cluster, start)
        await left.turn_until(lambda: left.work.losses.losses)
        await left.replace_leader()
        left.clock.advance(SECONDS)
        await only_degraded(left, start)
        # Redis loses all again, and the note with it.
        flush(server, cluster, start)
        dead.clock.advance(SECONDS)
        await until_both_have_all(left, dead, start)


def test_a_successor_waits_for_a_host_that_died_with_a_loss(
    server: RedisServer, cluster: str, tmp_path: Path
) -> None:
    run(followed_by_a_successor(server, cluster, tmp_path), 60)
