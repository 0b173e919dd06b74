"""What the protocol of a cluster of hosts asks of Redis, besides keeping ids."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.cluster.store_use import MARKS, MINUTE, Redis, grouped
from tests.support.redis.connection import FORBIDDEN
from tests.support.redis.server import Monitor, wait_until
from verve.stores import FailureKind, StoreError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.cluster.store_use import Use
    from tests.support.redis.server import RedisCluster, RedisServer
    from verve.stores import RedisClient, Store


def test_scripts(use: Use) -> None:
    async def test(client: RedisClient, _store: Store) -> None:
        script = f"return {{KEYS[1], ARGV[1], ARGV[2] + 1}} -- {time.time_ns()}"
        # The first time Redis does not know it yet.
        for _ in range(2):
            assert await client.run(script, ["a{b}"], [b"\x00\xff", 41]) == [
                b"a{b}",
                b"\x00\xff",
                42,
            ]
        keys = [[f"{{{n}}}a", f"{{{n}}}b"] for n in range(20)]
        found = await client.run_for_each(f"{script} again", keys, ["x", 1])
        assert found == [[key.encode(), b"x", 2] for key, _ in keys]

    use.with_client(test)


def test_a_script_that_fails(use: Use) -> None:
    async def test(client: RedisClient, _store: Store) -> None:
        for call in (
            client.run("return redis.call('GET')", ["k"], []),
            client.run_for_each("return redis.call('GET')", [["k"], ["l"]], []),
        ):
            with pytest.raises(StoreError) as caught:
                await call
            assert caught.value.kind is FailureKind.OTHER
        assert await client.run("return 7", ["k"], []) == 7

    use.with_client(test)


def test_time_comes_from_one_primary(redis: Redis, use: Use) -> None:
    def asked(server: RedisServer) -> int:
        lines = bytes(server.command("INFO", "commandstats")).decode().splitlines()
        found = [line for line in lines if line.startswith("cmdstat_time:")]
        return int(found[0].split("=")[1].split(",")[0]) if found else 0

    before = [asked(server) for server in redis.servers]

    async def test(client: RedisClient, _store: Store) -> None:
        for _ in range(10):
            assert abs(await client.time_microseconds() / 1e6 - time.time()) < 5

    use.with_client(test)
    risen = [asked(s) - n for s, n in zip(redis.servers, before, strict=True)]
    assert sorted(n for n in risen if n) == [10]


def test_epochs_stay_and_are_the_same_for_all(use: Use, redis: Redis) -> None:
    seen: set[str] = set()

    async def test(store: Store) -> None:
        for _ in range(3):
            seen.add(await store.epochs())

    use(test)
    use(test)
    assert len(seen) == 1, redis


def test_cancelled_calls_leave_no_reply_behind(use: Use) -> None:
    chance = random.Random(7)

    async def test(client: RedisClient, store: Store) -> None:
        async def ask(number: int) -> None:
            words = await client.run("return ARGV[1]", [f"k{number}"], [str(number)])
            assert words == str(number).encode()
            if number % 5 == 0:
                await store.add(MINUTE, grouped(range(number, number + 50)))
            if number % 7 == 0:
                assert (await store.count(MINUTE + 60, MARKS)).ids == 0

        for start in range(0, 600, 30):
            tasks = [asyncio.ensure_future(ask(n)) for n in range(start, start + 30)]
            for task in tasks:
                await asyncio.sleep(chance.random() * 0.002)
                if chance.random() < 0.5:
                    task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            wrong = [e for e in ended if e and not isinstance(e, asyncio.CancelledError)]
            assert wrong == []
        await asyncio.gather(*(ask(n) for n in range(1, 200)))

    use.with_client(test)


def test_nothing_that_walks_or_empties(redis: Redis, use: Use) -> None:
    async def test(client: RedisClient, store: Store) -> None:
        await store.add(MINUTE, grouped(range(50)))
        await store.mark(MINUTE, MARKS[0])
        await store.count(MINUTE, MARKS)
        await store.epochs()
        await client.time_microseconds()
        await client.eviction_policy()

    assert redis.place is not None
    with Monitor(redis.place) as monitor:
        use.with_client(test)
        wait_until(lambda: monitor.commands["TIME"] or None, "commands")
        seen = set(monitor.commands)
    assert seen >= {"INFO", "TIME"}
    assert not seen & FORBIDDEN


def test_calls_that_are_cancelled_give_their_connections_back(
    masters: RedisCluster, tmp_path: Path, cluster: str
) -> None:
    """With redis 8.0.0 a few stayed taken each time, until none was left."""

    async def test(client: RedisClient, store: Store) -> None:
        groups = grouped(range(3_000))
        for number in range(60):
            call = asyncio.ensure_future(store.add(MINUTE, groups))
            await asyncio.sleep(number / 2_000)
            call.cancel()
            await asyncio.wait([call])
        end = time.monotonic() + 10
        while any(len(n._free) < len(n._connections) for n in client.redis.get_nodes()):
            assert time.monotonic() < end, "connections stay taken"
            await asyncio.sleep(0.05)

    Redis(masters.url, "sets").use(tmp_path, cluster).with_client(test)
