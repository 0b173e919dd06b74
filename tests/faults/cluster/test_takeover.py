"""Leaders that end in the middle of a step, lost records, deliveries that no host makes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.cluster.in_process import run
from tests.support.cluster.stepped_host import SECONDS, SteppedHost
from verve.cluster.redis_state.keys import Keys
from verve.cluster.runtime.tasks import cancel_all
from verve.windows.release import ArenaRelease, Keeper

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.support.redis.server import RedisServer
    from verve.cluster.redis_state.window_state import WindowState


@contextlib.asynccontextmanager
async def closing(*stills: SteppedHost) -> AsyncIterator[None]:
    """End the hosts, whatever comes."""
    try:
        yield
    finally:
        for still in stills:
            await still.end()


def taken(still: SteppedHost, start: int) -> bool:
    """Whether Kafka has the window."""
    return any(key.window_start == start for key, _ in still.feed.kafka)


def noted(still: SteppedHost, start: int) -> bool:
    """Whether the delivery of the window is noted as done."""
    task = still.work.windows.own().get(start)
    return task is None or (task.record is not None and task.record.deliverer is None)


def a_window() -> int:
    """The start of the window that ended last."""
    return int(time.time()) // SECONDS * SECONDS - SECONDS


async def to_the_end(*stills: SteppedHost, ids: int = 200) -> None:
    """Join before the window, count so many ids in it, and end it."""
    for still in stills:
        await still.begin()
    for number, still in enumerate(stills):
        still.clock.advance(40)
        await still.turn()
        await still.count(range(100 * number, 100 * number + ids))
        still.clock.advance(SECONDS)


def count_away(still: SteppedHost) -> None:
    """Count ids 100 to 299 in the window that `to_the_end` ends, without having joined."""
    still.clock.advance(40)
    still.counter.add_many(range(100, 300))
    still.clock.advance(SECONDS)


# A window without ids is released before the host is complete.
@pytest.mark.timeout(300)
@pytest.mark.parametrize("ids", [200, 0])
def test_a_leader_that_dies_anywhere_is_followed_by_the_next(
    ids: int, server: RedisServer, cluster: str, tmp_path: Path, scale: Callable[[int], int]
) -> None:
    async def once(at: int) -> bool:
        start, calls = a_window(), 0
        dead = asyncio.Event()

        async def die(_what: str) -> None:
            nonlocal calls
            calls += 1
            if calls == at:
                dead.set()
            if dead.is_set():
                await asyncio.Event().wait()

        name = f"{cluster}-{at}"
        first = SteppedHost(tmp_path / str(at), server, name, start)
        await to_the_end(first, ids=ids)
        first.work.cluster.client.before = die  # type: ignore[attr-defined]
        turns = asyncio.create_task(first.turn_until(lambda: taken(first, start)))
        waiting = asyncio.create_task(dead.wait())
        await asyncio.wait([turns, waiting], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        await cancel_all([turns])
        await first.end()
        second = SteppedHost(tmp_path / str(at), server, name, start, term=2)
        async with closing(second):
            second.clock.advance(30 + SECONDS + 10)
            await second.begin()
            # A token of the dead one falls free after three seconds.
            await second.turn_until(lambda: second.records(start) and noted(second, start))
            record = (await second.work.cluster.windows.read(start)).record
            assert record is not None
            assert (record.count, record.complete, record.revision) == (ids, True, 1)
            assert second.records(start)[-1].unique == ids
        return dead.is_set()

    at, step = 1, 5 if scale(10) < 10 else 1
    while run(once(at)):
        at += step
    assert at > 10


def test_a_record_that_redis_lost_is_put_back(
    server: RedisServer, cluster: str, tmp_path: Path
) -> None:
    async def main() -> None:
        start = a_window()
        a = SteppedHost(tmp_path / "a", server, cluster, start)
        b = SteppedHost(tmp_path / "b", server, cluster, start)
        async with closing(a, b):
            await to_the_end(a, b)
            await a.turn_until(lambda: a.records(start) and b.records(start), b)
            keys = Keys(cluster, SECONDS)
            # All but the hosts: the loss is noticed by the state of an open window.
            with server.ask() as connection:
                connection.delete(keys.state(start), keys.changed)
                for shard in range(16):
                    connection.delete(f"verve:{{{cluster}:60:{start}:{shard}}}:ids")
            await a.turn_until(lambda: has_record(server, keys.state(start)), b)
            with server.ask() as connection:
                assert connection.zscore(keys.changed, str(start)) is not None
            found = await a.work.cluster.windows.read(start)
            assert found.record is not None
            assert (found.record.revision, found.record.count) == (1, 300)
            # The ids come again as well, and lead to no other record.
            await a.turn_until(lambda: "window.resent" in a.told.names() + b.told.names(), b)
            for _ in range(20):
                await a.turn()
                await b.turn()
                await asyncio.sleep(0.05)
            found = await a.work.cluster.windows.read(start)
            assert found.record is not None
            assert (found.record.revision, found.record.count) == (1, 300)
            assert not found.asks_for_revision
            assert {w.revision for w in a.records(start) + b.records(start)} == {1}

    run(main())


def has_record(server: RedisServer, key: str) -> bool:
    with server.ask() as connection:
        return bool(connection.hexists(key, "revision"))


def test_a_delivery_of_a_dead_host_is_taken_over(
    server: RedisServer, cluster: str, tmp_path: Path
) -> None:
    async def main() -> None:
        start = a_window()
        a = SteppedHost(tmp_path / "a", server, cluster, start)
        b = SteppedHost(tmp_path / "b", server, cluster, start)
        a.feed.kafka_takes = b.feed.kafka_takes = False
        async with closing(a, b):
            await to_the_end(a, b)
            await a.turn_until(lambda: a.records(start) and b.records(start), b)
            record = (await a.work.cluster.windows.read(start)).record
            assert record is not None
            dead, alive = (a, b) if record.deliverer == a.counter.stats()["identity"] else (b, a)
            assert dead.records(start)[-1].delivers
            assert not alive.records(start)[-1].delivers
            name = dead.counter.stats()["identity"]
            keys = Keys(cluster, SECONDS)
            with server.ask() as connection:
                # It delivers for long, but it lives.
                since = record.delivery_since - 11_000
                connection.hset(keys.state(start), "delivery", f"{name} {since}")
            for _ in range(10):
                await alive.turn()
                await dead.turn()
            assert not alive.records(start)[-1].delivers
            await cancel_all(dead.work.windows.tasks())
            with server.ask() as connection:
                connection.hdel(keys.hosts, name)
            alive.feed.kafka_takes = True
            await alive.turn_until(lambda: taken(alive, start))
            assert alive.records(start)[-1].delivers
            await alive.turn_until(lambda: delivered(server, keys.state(start)))
            assert [w.revision for w in alive.records(start)] == [1, 1]

    run(main())


def test_a_record_that_redis_and_its_deliverer_lost_is_delivered(
    server: RedisServer, cluster: str, tmp_path: Path
) -> None:
    """Redis loses the record, its deliverer dies before it stored it, another host knows it."""

    async def main() -> None:
        start = a_window()
        a = SteppedHost(tmp_path / "a", server, cluster, start)
        b = SteppedHost(tmp_path / "b", server, cluster, start)
        a.feed.kafka_takes = b.feed.kafka_takes = False
        async with closing(a, b):
            await to_the_end(a, b)
            await a.turn_until(lambda: a.records(start) and b.records(start), b)
            record = (await a.work.cluster.windows.read(start)).record
            assert record is not None
            dead, alive = (a, b) if record.deliverer == a.counter.stats()["identity"] else (b, a)
            await cancel_all(dead.work.windows.tasks())
            with server.ask() as connection:
                connection.delete(*connection.keys(f"verve:*{cluster}:*"))
            alive.feed.kafka_takes = True
            await alive.replace_leader()
            await alive.turn_until(lambda: taken(alive, start))
            await alive.turn_until(lambda: delivered(server, Keys(cluster, SECONDS).state(start)))
            assert {(w.revision, w.unique) for w in alive.records(start)} == {(1, 300)}

    run(main())


def delivered(server: RedisServer, key: str) -> bool:
    with server.ask() as connection:
        return bool(connection.hget(key, "delivery") == b"done")


def test_a_window_that_is_a_day_old_is_let_go(
    server: RedisServer, cluster: str, tmp_path: Path
) -> None:
    async def main() -> None:
        start = a_window()
        a = SteppedHost(tmp_path / "a", server, cluster, start)
        async with closing(a):
            await to_the_end(a)
            # It never becomes complete: a host that registered is gone.
            await a.work.cluster.windows.register(start, "d" * 16, {})
            await a.turn_until(lambda: a.counter.ring.newest() >= start)
            assert a.counter.retention.settled() < start
            for task in a.work.windows.own().values():
                assert not task.expire(task.window_start + SECONDS + 86_399)
                assert task.expire(task.window_start + SECONDS + 86_400)
            await a.turn_until(lambda: a.counter.retention.settled() >= start)
            assert ("window.expired", {"window_start": start, "ids": 200}) in a.told.events

    run(main())


def test_a_window_is_released_one_window_after_its_record(
    server: RedisServer, cluster: str, tmp_path: Path
) -> None:
    async def main() -> None:
        start = a_window()
        a = SteppedHost(tmp_path / "a", server, cluster, start)
        async with closing(a):
            await to_the_end(a)
            own = a.work.windows.own
            await a.turn_until(lambda: all(task.resolved_at for task in own().values()))
            for task in own().values():
                # A window without ids has nothing to keep.
                assert task.is_releasable == (task.window_start != start)
                task.resolved_at = (task.resolved_at or 0) - SECONDS
            await a.turn_until(lambda: a.counter.retention.settled() >= start)
            assert a.counter.replication.cluster_count(start) == 200

    run(main())


def test_a_revision_of_a_window_that_waits_for_its_release_is_seen(
    server: RedisServer, cluster: str, tmp_path: Path
) -> None:
    """Older windows, or the archive, may hold the release long after the host is done with it."""

    async def main() -> None:
        start = a_window()
        a, b = (SteppedHost(tmp_path / name, server, cluster, start) for name in "ab")
        a.coordinator.release = ArenaRelease(a.counter, {Keeper.CLUSTER, Keeper.ARCHIVE})
        count_away(b)
        await to_the_end(a)
        async with closing(a, b):
            own = a.work.windows.own
            await a.turn_until(lambda: start in own() and own()[start].resolved_at)
            own()[start].resolved_at = -float(SECONDS)
            await a.turn_until(lambda: own()[start].is_over)
            assert a.counter.retention.settled() < start
            await b.begin()
            await b.turn_until(lambda: a.records(start)[-1].unique == 300, a)
            # Who delivers a revision, or looks at a window again, publishes it twice.
            of_a = dict.fromkeys((w.unique, w.degraded) for w in a.records(start))
            assert list(of_a) == [(200, False), (300, False)]

    run(main())


def test_news_that_overtake_a_read_are_looked_at(
    server: RedisServer, cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host reads a record, and is told that it changed before the answer of that is there."""

    async def main() -> None:
        start = a_window()
        a, b = (SteppedHost(tmp_path / name, server, cluster, start) for name in "ab")
        count_away(b)
        await to_the_end(a)
        async with closing(a, b):
            own = a.work.windows.own
            await a.turn_until(lambda: start in own() and own()[start].resolved_at)
            windows = a.work.cluster.windows
            read = windows.read
            overtaken = asyncio.Event()

            async def overtake(window_start: int) -> WindowState:
                state = await read(window_start)
                if window_start == start and not overtaken.is_set():
                    overtaken.set()
                    await b.begin()
                    await b.turn_until(lambda: taken(b, start) and noted(b, start))
                    await a.work.heartbeat.step()
                return state

            monkeypatch.setattr(windows, "read", overtake)
            own()[start].resolved_at = -float(SECONDS)
            await overtaken.wait()
            await a.turn_until(lambda: a.records(start)[-1].unique == 300)

    run(main())


def test_a_record_that_was_evicted_is_put_back_by_who_sees_another(
    server: RedisServer, cluster: str, tmp_path: Path
) -> None:
    """Nobody follows the window any more, so nobody notices; then a host is back with some ids."""

    async def main() -> None:
        start = a_window()
        a = SteppedHost(tmp_path / "a", server, cluster, start)
        b = SteppedHost(tmp_path / "b", server, cluster, start, grace=1)
        b.clock.advance(40)
        b.counter.add_many(range(150, 180))
        b.clock.advance(SECONDS)
        await to_the_end(a)
        async with closing(a, b):
            own = a.work.windows.own
            await a.turn_until(lambda: start in own() and own()[start].resolved_at)
            own()[start].resolved_at = -float(SECONDS)
            await a.turn_until(lambda: start not in own())
            with server.ask() as connection:
                connection.delete(*connection.keys(f"verve:{{{cluster}:60:{start}*"))
            await b.begin()
            await b.turn_until(lambda: b.records(start) and b.records(start)[-1].unique > 30, a)
            await a.turn_until(lambda: a.records(start)[-1].revision == 2, b)
            # Who delivers a revision, or looks at a window again, publishes it twice.
            of_a, of_b = (
                sorted({(w.revision, w.unique, w.degraded) for w in host.records(start)})
                for host in (a, b)
            )
            assert of_a == [(1, 200, False), (2, 200, False)]
            assert of_b == [(1, 30, True), (2, 200, False)]

    run(main())
