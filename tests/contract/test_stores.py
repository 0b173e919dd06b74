"""What every store does, whichever it is and wherever it keeps ids: the same tests for all."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

from tests.contract.memory_store import MemoryStore
from tests.contract.store_use import EDGES, MARKS, MINUTE, Redis, grouped
from verve._verve import shard_of
from verve.stores import SHARDS, Store, Tally
from verve.stores.base import RETENTION_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.contract.store_use import Use
    from tests.redis import RedisServer


def test_it_is_a_store_with_a_name(use: Use, redis: Redis) -> None:
    async def test(store: Store) -> None:
        assert isinstance(store, Store)
        assert store.name == redis.strategy

    use(test)


def test_nothing_is_there_at_first(use: Use) -> None:
    async def test(store: Store) -> None:
        tally = await store.tally(MINUTE, MARKS)
        assert tally == Tally(0, frozenset())

    use(test)


def test_distinct_ids_are_counted_once(use: Use) -> None:
    async def test(store: Store) -> None:
        for ids in (EDGES, range(500), range(250, 750), EDGES, []):
            await store.add(MINUTE, grouped(ids))
        assert (await store.tally(MINUTE, [])).ids == len({*EDGES, *range(750)})

    use(test)


def test_random_calls_count_as_in_memory(use: Use) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)

    async def test(store: Store) -> None:
        model = MemoryStore()
        for _ in range(60):
            window = MINUTE + 60 * chance.randrange(3)
            marks = chance.sample(MARKS, chance.randrange(1, 5))
            if chance.random() < 0.2:
                await store.mark(window, marks[0])
                await model.mark(window, marks[0])
            if chance.random() < 0.6:
                start = chance.choice([0, -(2**63), 10_000])
                ids = [start + chance.randrange(300) for _ in range(chance.randrange(200))]
                await store.add(window, grouped(ids))
                await model.add(window, grouped(ids))
            found, wanted = await store.tally(window, marks), await model.tally(window, marks)
            assert found == wanted, f"seed {seed}"

    use(test)


def test_windows_and_clusters_are_apart(redis: Redis, tmp_path: Path) -> None:
    async def test() -> None:
        names = [f"apart-{time.time_ns()}-{n}" for n in range(2)]
        one, other = (redis.connect(tmp_path, name)[1] for name in names)
        await one.add(MINUTE, grouped(range(10)))
        await one.add(MINUTE + 60, grouped(range(20)))
        await other.add(MINUTE, grouped(range(30)))
        counts = [
            (await store.tally(start, [])).ids
            for store, start in ((one, MINUTE), (one, MINUTE + 60), (other, MINUTE))
        ]
        await one.close()
        await other.close()
        assert counts == [10, 20, 30]

    asyncio.run(test())


def test_markers_are_told_and_not_counted(use: Use) -> None:
    async def test(store: Store) -> None:
        await store.add(MINUTE, grouped(range(100)))
        for mark in (MARKS[0], MARKS[1], MARKS[1]):
            await store.mark(MINUTE, mark)
        tally = await store.tally(MINUTE, MARKS)
        assert tally == Tally(100, frozenset(MARKS[:2]))
        # Whoever sums may not have heard of one of them.
        assert (await store.tally(MINUTE, MARKS[:1])).ids == 100
        assert (await store.tally(MINUTE + 60, MARKS)).markers == frozenset()

    use(test)


def test_calls_at_once(use: Use) -> None:
    async def test(store: Store) -> None:
        batches = [grouped(range(start, start + 300)) for start in range(0, 6_000, 150)]
        await asyncio.gather(*(store.add(MINUTE, groups) for groups in batches))
        assert (await store.tally(MINUTE, [])).ids == 6_150

    use(test)


def test_many_ids_in_one_call(use: Use, redis: Redis) -> None:
    count = 300_000 if redis.strategy == "sets" else 20_000

    async def test(store: Store) -> None:
        await store.add(MINUTE, grouped(range(count)))
        assert (await store.tally(MINUTE, [])).ids == count

    use(test)


def test_all_of_it_expires_a_day_after_the_window(use: Use, redis: Redis, cluster: str) -> None:
    async def test(store: Store) -> None:
        await store.add(MINUTE, grouped(range(50)))
        await store.mark(MINUTE, MARKS[0])

    use(test)
    masters = [s for s in redis.servers if s.info("role") == "master"]
    keys = [(s, key) for s in masters for key in s.command("KEYS", f"verve:{{{cluster}:*")]
    assert keys
    end = MINUTE + 60 + RETENTION_SECONDS
    for server, key in keys:
        expiry = int(server.command("EXPIRETIME", key))
        # That of the keys is counted from when they are made.
        latest = end if redis.strategy == "sets" else time.time() + 60 + RETENTION_SECONDS + 1
        assert end <= expiry <= latest, key


def test_the_expiry_comes_back_with_what_was_lost(
    single: RedisServer, tmp_path: Path, cluster: str
) -> None:
    async def test(store: Store) -> None:
        await store.add(MINUTE, grouped(range(200)))
        single.command("UNLINK", *single.command("KEYS", f"verve:{{{cluster}:*"))
        await store.add(MINUTE, grouped(range(200, 400)))
        await store.mark(MINUTE, MARKS[0])
        tally = await store.tally(MINUTE, MARKS)
        assert tally == Tally(200, frozenset(MARKS[:1]))

    Redis(single.url, "sets").use(tmp_path, cluster)(test)
    for key in single.command("KEYS", f"verve:{{{cluster}:*"):
        assert single.command("TTL", key) > 0


def test_sets_are_named_as_the_protocol_says(
    single: RedisServer, tmp_path: Path, cluster: str
) -> None:
    async def test(store: Store) -> None:
        await store.add(MINUTE, grouped(EDGES))

    Redis(single.url, "sets").use(tmp_path, cluster)(test)
    for id in EDGES:
        key = f"verve:{{{cluster}:60:{MINUTE}:{shard_of(id)}}}:ids"
        member = id.to_bytes(8, "little", signed=True)
        assert single.command("SISMEMBER", key, member) == 1


def test_keys_are_named_as_those_of_the_go_service(
    single: RedisServer, tmp_path: Path, cluster: str
) -> None:
    async def test(store: Store) -> None:
        await store.add(MINUTE, grouped(EDGES))

    Redis(single.url, "keys").use(tmp_path, cluster)(test)
    for id in EDGES:
        assert single.command("GET", f"verve:{{{cluster}:60:{MINUTE}}}:{id}") == b"1"


def test_shards_are_those_of_the_counter() -> None:
    assert {shard_of(id) for id in range(10_000)} == set(range(SHARDS))
