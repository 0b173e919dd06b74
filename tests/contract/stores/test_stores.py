"""What every store does, whichever it is and wherever it keeps ids: against a plain set."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import defaultdict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from tests.support.cluster.store_use import begun
from tests.support.network.certificates import certificate
from tests.support.redis.server import Connection, FaultProxy, RedisCluster, RedisServer, Sentinels
from verve._verve import SHARDS
from verve.stores import (
    FailureKind,
    RedisClient,
    RedisKeys,
    RedisSets,
    Store,
    StoreCount,
    StoreError,
)
from verve.stores.address import Address
from verve.stores.base import MARKER_BYTES, RETENTION_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
    from pathlib import Path

    Rig = RedisServer | RedisCluster | Sentinels

SECRET = "s3cret-word"  # noqa: S105 - of a server that ends with the test
SECONDS = 60
WINDOW = int(time.time()) // SECONDS * SECONDS
STRATEGIES: dict[str, Callable[[RedisClient, str, int], Store]] = {
    "sets": RedisSets,
    "keys": RedisKeys,
}
PLACES: dict[str, Callable[[Path], Rig]] = {
    "single": RedisServer,
    "cluster": RedisCluster,
    "sentinels": Sentinels,
}
# The fixtures of those that all tests share.
SHARED = {"single": "single", "cluster": "masters", "sentinels": "watched"}
CASES = [
    ("sets", "single"),
    ("sets", "cluster"),
    ("sets", "sentinels"),
    ("keys", "single"),
    ("keys", "cluster"),
]
T = TypeVar("T")
_names = itertools.count()


class Oracle:
    """What a store is to hold."""

    def __init__(self) -> None:
        self._ids: dict[int, set[int]] = defaultdict(set)
        self._markers: dict[int, set[bytes]] = defaultdict(set)

    def add(self, window_start: int, ids: Iterable[int]) -> None:
        """Add ids to a window."""
        self._ids[window_start] |= set(ids)

    def mark(self, window_start: int, marker: bytes) -> None:
        """Add a marker to a window."""
        self._markers[window_start].add(marker)

    def count(self, window_start: int, markers: Iterable[bytes]) -> StoreCount:
        """Count a window."""
        there = self._markers[window_start] & set(markers)
        return StoreCount(len(self._ids[window_start]), frozenset(there))


class Place:
    """A Redis of some kind, and how to come by a store on it that shares its ids with no other."""

    def __init__(self, strategy: str, redis: Rig) -> None:
        self.strategy = strategy
        self.redis = redis
        self.cluster = f"cluster-{next(_names)}"

    @asynccontextmanager
    async def store(self, seconds: int = SECONDS) -> AsyncIterator[Store]:
        """One host's store; all those of a test share their ids."""
        store = store_at(self.redis.url, self.strategy, self.cluster, seconds)
        try:
            yield store
        finally:
            await store.close()

    def keys(self) -> dict[bytes, RedisServer]:
        """All keys of this test, and where they are. The test may ask what Verve must not."""
        servers = self.redis.nodes[:3] if isinstance(self.redis, RedisCluster) else []
        return {
            key: server
            for server in servers or self.redis.servers[:1]
            for key in server.command("KEYS", f"verve:{{{self.cluster}:*")
        }


def client_at(url: str, tls: Mapping[str, str] | None = None) -> RedisClient:
    return RedisClient(Address.parse(url), tls)


def store_at(url: str, strategy: str, cluster: str = "test", seconds: int = SECONDS) -> Store:
    return begun(STRATEGIES[strategy](client_at(url), cluster, seconds))


def run(main: Awaitable[Any], timeout: float = 60) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(main, timeout)

    asyncio.run(bounded())


def grouped(ids: Iterable[int]) -> dict[int, list[bytes]]:
    """Ids by shard, the same id always in the same one."""
    groups: dict[int, list[bytes]] = defaultdict(list)
    for id in ids:
        groups[(id ^ (id >> 7)) % SHARDS].append(id.to_bytes(8, "little", signed=True))
    return dict(groups)


def marker(number: int) -> bytes:
    return b"m" + number.to_bytes(MARKER_BYTES - 1, "big")


@pytest.fixture
def redis_at(request: pytest.FixtureRequest) -> Callable[[str], Rig]:
    """Each kind of Redis, once for all tests that leave it as it was."""

    def find(kind: str) -> Rig:
        found: Rig = request.getfixturevalue(SHARED[kind])
        return found

    return find


@pytest.fixture(params=CASES, ids="-".join)
def place(request: pytest.FixtureRequest, redis_at: Callable[[str], Rig]) -> Place:
    strategy, kind = request.param
    return Place(strategy, redis_at(kind))


# What is counted


def test_it_is_a_store(place: Place) -> None:
    async def main() -> None:
        async with place.store() as store:
            assert isinstance(store, Store)
            assert store.name == place.strategy

    run(main())


def test_nothing_is_nothing(place: Place) -> None:
    async def main() -> None:
        async with place.store() as store:
            assert await store.count(WINDOW, []) == StoreCount(0, frozenset())
            assert await store.count(WINDOW, [marker(1)]) == StoreCount(0, frozenset())
            await store.add(WINDOW, {})
            await store.add(WINDOW, {0: []})
            assert await store.count(WINDOW, []) == StoreCount(0, frozenset())

    run(main())


def test_ids_count_once_however_often_they_are_added(place: Place) -> None:
    async def main() -> None:
        async with place.store() as store:
            for _ in range(2):
                await store.add(WINDOW, grouped(range(100)))
            assert (await store.count(WINDOW, [])).ids == 100
            await store.add(WINDOW, grouped(range(50, 150)))
            assert (await store.count(WINDOW, [])).ids == 150

    run(main())


def test_an_id_twice_in_a_call_counts_once(place: Place) -> None:
    async def main() -> None:
        async with place.store() as store:
            groups = {shard: members * 3 for shard, members in grouped(range(100)).items()}
            await store.add(WINDOW, groups)
            assert (await store.count(WINDOW, [])).ids == 100

    run(main())


def test_ids_at_the_bounds(place: Place) -> None:
    ids = [0, 1, -1, 2**63 - 1, -(2**63), 0x0D0A0D0A0D0A0D0A, -0x0D0A0D0A0D0A0D0B, 10, 13]

    async def main() -> None:
        async with place.store() as store:
            await store.add(WINDOW, grouped(ids))
            await store.add(WINDOW, grouped(reversed(ids)))
            assert (await store.count(WINDOW, [])).ids == len(ids)

    run(main())


def test_fifty_thousand_ids_at_once(place: Place) -> None:
    ids = [random.getrandbits(64) - 2**63 for _ in range(50_000)]

    async def main() -> None:
        async with place.store() as store:
            await store.add(WINDOW, grouped(ids))
            assert (await store.count(WINDOW, [])).ids == len(set(ids))
            # All in one shard.
            one = [member for members in grouped(ids).values() for member in members]
            await store.add(WINDOW + SECONDS, {5: one})
            assert (await store.count(WINDOW + SECONDS, [])).ids == len(set(ids))

    run(main())


def test_ids_without_a_list_of_markers_count_as_none(single: RedisServer) -> None:
    """Redis has evicted it: some of the ids may be markers."""

    async def main() -> None:
        client = client_at(single.url)
        store = RedisSets(client, f"cluster-{next(_names)}", SECONDS)
        await store.mark(WINDOW, marker(1))
        await store.add(WINDOW, grouped(range(100)))
        for shard in range(SHARDS):
            single.command("DEL", store._key(WINDOW, shard).removesuffix("ids") + "marks")
        assert await store.count(WINDOW, [marker(1)]) == StoreCount(0, frozenset())
        await store.mark(WINDOW, marker(2))
        found = await store.count(WINDOW, [marker(1), marker(2)])
        assert found == StoreCount(0, frozenset({marker(2)}))
        await store.add(WINDOW, grouped(range(30)))
        assert (await store.count(WINDOW, [])).ids == 30
        await store.close()

    run(main())


def test_windows_are_apart(place: Place) -> None:
    async def main() -> None:
        async with place.store() as store:
            await store.add(WINDOW, grouped(range(10)))
            await store.add(WINDOW + SECONDS, grouped(range(5, 25)))
            await store.mark(WINDOW, marker(1))
            assert await store.count(WINDOW, [marker(1)]) == StoreCount(10, frozenset({marker(1)}))
            assert await store.count(WINDOW + SECONDS, [marker(1)]) == StoreCount(20, frozenset())

    run(main())


def test_clusters_and_lengths_are_apart(place: Place) -> None:
    async def main() -> None:
        url, strategy = place.redis.url, place.strategy
        for number, store in enumerate(
            [
                store_at(url, strategy, place.cluster),
                store_at(url, strategy, f"{place.cluster}-b"),
                store_at(url, strategy, place.cluster, seconds=2 * SECONDS),
            ]
        ):
            await store.add(WINDOW, grouped(range(number, 10)))
            assert (await store.count(WINDOW, [])).ids == 10 - number
            await store.close()

    run(main())


def test_markers_are_told_apart_and_are_no_ids(place: Place) -> None:
    async def main() -> None:
        async with place.store() as store:
            await store.add(WINDOW, grouped(range(10)))
            for number in (1, 2, 2):
                await store.mark(WINDOW, marker(number))
            asked = [marker(1), marker(2), marker(3)]
            assert await store.count(WINDOW, asked) == StoreCount(10, frozenset(asked[:2]))
            assert await store.count(WINDOW, asked[1:]) == StoreCount(10, frozenset(asked[1:2]))
            # Markers that who counts has not heard of.
            assert await store.count(WINDOW, []) == StoreCount(10, frozenset())
            assert await store.count(WINDOW, [marker(3)]) == StoreCount(10, frozenset())

    run(main())


def test_markers_alone_are_no_ids(place: Place) -> None:
    async def main() -> None:
        async with place.store() as store:
            await store.mark(WINDOW, marker(1))
            assert await store.count(WINDOW, [marker(1)]) == StoreCount(0, frozenset({marker(1)}))
            assert await store.count(WINDOW, []) == StoreCount(0, frozenset())

    run(main())


def test_any_calls_in_any_order_give_what_a_set_gives(place: Place) -> None:
    async def main() -> None:
        choice, oracle = random.Random(random.getrandbits(32)), Oracle()
        async with place.store() as one, place.store() as other:
            for _ in range(60):
                store = choice.choice([one, other])
                window = WINDOW + SECONDS * choice.randrange(2)
                if choice.random() < 0.8:
                    ids = [choice.randrange(-300, 300) for _ in range(choice.randrange(1, 100))]
                    await store.add(window, grouped(ids))
                    oracle.add(window, ids)
                else:
                    found = marker(choice.randrange(4))
                    await store.mark(window, found)
                    oracle.mark(window, found)
                asked = [marker(number) for number in range(4) if choice.random() < 0.7]
                assert await store.count(window, asked) == oracle.count(window, asked)

    run(main())


def test_clients_that_add_the_same_ids_at_once(place: Place) -> None:
    async def add(ids: Iterable[int]) -> None:
        async with place.store() as store:
            await asyncio.gather(*(store.add(WINDOW, grouped(ids)) for _ in range(3)))

    async def main() -> None:
        await asyncio.gather(*(add(range(n * 500, n * 500 + 1_000)) for n in range(6)))
        async with place.store() as store:
            assert (await store.count(WINDOW, [])).ids == 3_500

    run(main())


def test_one_client_may_be_asked_many_things_at_once(place: Place) -> None:
    async def main() -> None:
        async with place.store() as store:
            windows = [WINDOW + SECONDS * number for number in range(4)]
            await asyncio.gather(*(store.add(window, grouped(range(100))) for window in windows))
            await asyncio.gather(*(store.mark(window, marker(1)) for window in windows))
            found = await asyncio.gather(*(store.count(window, [marker(1)]) for window in windows))
            assert found == [StoreCount(100, frozenset({marker(1)}))] * 4

    run(main())


@pytest.mark.parametrize("marked", [False, True])
def test_every_key_expires(place: Place, marked: bool) -> None:
    async def main() -> None:
        async with place.store() as store, place.store() as other:
            await store.add(WINDOW, grouped(range(1_000)))
            await other.add(WINDOW, grouped(range(500, 1_500)))
            await store.add(WINDOW, {0: []})
            if marked:
                await store.mark(WINDOW, marker(1))

    run(main())
    keys = place.keys()
    assert len(keys) >= SHARDS
    end = WINDOW + SECONDS + RETENTION_SECONDS
    for key, server in keys.items():
        now = time.time()
        left = server.command("TTL", key)
        # The key of a single id is kept that long from when it was made.
        longest = SECONDS + RETENTION_SECONDS if place.strategy == "keys" else end - now + 5
        assert end - now - 5 <= left <= longest, key


def test_a_shard_without_ids_does_not_keep_later_ones_from_expiring(place: Place) -> None:
    async def main() -> None:
        async with place.store() as store:
            await store.add(WINDOW, {3: []})
            await store.add(WINDOW, {3: grouped([3])[3]})

    run(main())
    assert all(server.command("TTL", key) > 0 for key, server in place.keys().items())


def test_closing_twice_is_closing(place: Place) -> None:
    async def main() -> None:
        async with place.store() as store:
            await store.add(WINDOW, grouped([1]))
            await store.close()

    run(main())


# What a call leaves behind


def test_a_cancelled_call_leaves_no_reply_to_the_next_one(place: Place) -> None:
    async def main() -> None:
        async with place.store() as store:
            ids = grouped(range(3_000))
            await store.add(WINDOW, ids)
            for number in range(100):
                if number % 2:
                    call = asyncio.ensure_future(store.add(WINDOW, ids))
                else:
                    call = asyncio.ensure_future(store.count(WINDOW, [marker(9)]))  # type: ignore[arg-type]
                await asyncio.sleep(random.random() * 0.01)
                call.cancel()
                await asyncio.wait([call])
                await store.mark(WINDOW, marker(number % 3))
                found = await store.count(WINDOW, [marker(number % 3), marker(7)])
                assert found.markers == {marker(number % 3)}
                if place.strategy == "sets":
                    assert found.ids == 3_000

    run(main())


def test_scripts_that_the_server_forgot_are_sent_again(place: Place) -> None:
    async def main() -> None:
        async with place.store() as store:
            await store.mark(WINDOW, marker(1))
            for server in place.redis.servers:
                server.command("SCRIPT", "FLUSH")
            await store.mark(WINDOW, marker(2))
            found = await store.count(WINDOW, [marker(1), marker(2)])
            assert found == StoreCount(0, frozenset({marker(1), marker(2)}))

    run(main())


# The client


@pytest.mark.parametrize("kind", PLACES)
def test_the_client(redis_at: Callable[[str], Rig], kind: str) -> None:
    redis = redis_at(kind)

    async def main() -> None:
        client = client_at(redis.url)
        before = time.time()
        found = await client.time_microseconds()
        assert before - 0.01 <= found / 1e6 <= time.time() + 0.01
        key = f"verve:{{{next(_names)}}}:value"
        script = "return {KEYS[1], ARGV[1], ARGV[2]}"
        for _ in range(2):
            assert await client.run(script, [key], [b"\x00\r\n", 7]) == [
                key.encode(),
                b"\x00\r\n",
                b"7",
            ]
            for server in redis.servers:
                server.command("SCRIPT", "FLUSH")
        with pytest.raises(StoreError) as caught:
            await client.run("return redis.error_reply('ERR odd')", [key], [])
        assert caught.value.kind is FailureKind.OTHER
        assert "odd" in str(caught.value)
        assert await client.eviction_policy() == "noeviction"
        epochs = {await client.epochs() for _ in range(3)}
        assert len(epochs) == 1
        await client.close()
        again = client_at(redis.url)
        assert {await again.epochs()} == epochs
        await again.close()

    run(main())


async def settled(call: Callable[[], Awaitable[T]], seconds: float = 15) -> T:
    """What a call gives once it gives something; meanwhile it may raise `StoreError` only."""
    end = time.monotonic() + seconds
    while True:
        try:
            return await call()
        except StoreError:
            if time.monotonic() > end:
                raise
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("number", range(2))
def test_epochs_change_with_a_restart(tmp_path: Path, number: int) -> None:
    rigs: list[Rig] = [RedisServer(tmp_path / "one"), RedisCluster(tmp_path / "three")]
    with rigs[number] as redis:

        async def main() -> None:
            client = client_at(redis.url)
            found = [await client.epochs()]
            for server in redis.servers[:2]:
                server.kill()
                server.start()
                found.append(await settled(client.epochs))
                assert await client.epochs() == found[-1]
            assert len(set(found)) == len(found)
            await client.close()

        run(main())


def test_epochs_change_with_a_failover(tmp_path: Path) -> None:
    with Sentinels(tmp_path / "redis") as redis:

        async def main() -> None:
            store = store_at(redis.url, "sets")
            before = await store.epochs()
            await store.add(WINDOW, grouped(range(100)))
            redis.kill_master()
            await asyncio.to_thread(redis.wait_failover)
            after = await settled(store.epochs)
            assert after != before
            assert await store.epochs() == after
            await store.add(WINDOW, grouped(range(150)))
            assert (await store.count(WINDOW, [])).ids == 150
            await store.close()

        run(main())


# Troubles


async def trouble(work: Awaitable[Any], within: float = 15.0) -> FailureKind:
    """What kept a call from being done; it told so in time, and told no secret."""
    with pytest.raises(StoreError) as caught:
        await asyncio.wait_for(work, within)
    error: BaseException | None = caught.value
    while error is not None:
        assert SECRET not in f"{error} {error!r}"
        error = error.__cause__ or error.__context__
    return caught.value.kind


async def all_in_trouble(url: str, strategy: str, expected: set[FailureKind]) -> None:
    """No call of a store is done, each for the same reason."""
    calls: list[Callable[[Store], Awaitable[Any]]] = [
        lambda store: store.add(WINDOW, grouped(range(100))),
        lambda store: store.mark(WINDOW, marker(1)),
        lambda store: store.count(WINDOW, [marker(1)]),
        lambda store: store.epochs(),
    ]

    async def ask(call: Callable[[Store], Awaitable[Any]]) -> None:
        store = store_at(url, strategy)
        assert await trouble(call(store)) in expected
        await store.close()

    await asyncio.gather(*map(ask, calls))


def entered(url: str, entry: str) -> str:
    return url.replace("://", f"://{entry}@")


@pytest.mark.parametrize(("strategy", "kind"), CASES)
def test_a_wrong_password(redis_at: Callable[[str], Rig], strategy: str, kind: str) -> None:
    redis = redis_at(kind)
    url = entered(redis.url, f"verve:{SECRET}")
    run(all_in_trouble(url, strategy, {FailureKind.AUTHENTICATION}))


@pytest.mark.parametrize(("strategy", "kind"), CASES)
def test_a_server_that_is_not_there(tmp_path: Path, strategy: str, kind: str) -> None:
    url = PLACES[kind](tmp_path).url
    run(all_in_trouble(entered(url, f"verve:{SECRET}"), strategy, {FailureKind.UNREACHABLE}))


@pytest.mark.parametrize(("strategy", "kind"), CASES[:2] + CASES[3:])
def test_a_server_that_answers_nothing(tmp_path: Path, strategy: str, kind: str) -> None:
    with PLACES[kind](tmp_path) as redis:
        for server in redis.servers:
            server.pause()
        expected = {FailureKind.TIMEOUT}
        run(all_in_trouble(entered(redis.url, f"verve:{SECRET}"), strategy, expected))
        for server in redis.servers:
            server.resume()


@pytest.mark.parametrize(("strategy", "kind"), CASES)
def test_a_server_that_stops_answering(tmp_path: Path, strategy: str, kind: str) -> None:
    with PLACES[kind](tmp_path) as redis:

        async def main() -> None:
            store = store_at(redis.url, strategy)
            await store.add(WINDOW, grouped(range(100)))
            for server in redis.servers:
                server.pause()
            # Sentinels notice after a second that the master does not answer.
            expected = {FailureKind.TIMEOUT, FailureKind.UNREACHABLE}
            assert await trouble(store.add(WINDOW, grouped(range(100)))) in expected
            assert await trouble(store.count(WINDOW, [])) in expected
            for server in redis.servers:
                server.resume()
            assert (await settled(lambda: store.count(WINDOW, []))).ids == 100
            await store.close()

        run(main())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_user_without_permission(tmp_path: Path, strategy: str) -> None:
    with RedisServer(tmp_path) as redis:
        common = ("on", f">{SECRET}", "+client", "+info")
        redis.command("ACL", "SETUSER", "keyless", *common, "+@all", "~other:*")
        redis.command("ACL", "SETUSER", "idle", *common, "~*", "-@all")
        redis.command("ACL", "SETUSER", "enough", *common, "~verve:*", "+@all", "-@admin")
        url = entered(redis.url, f"idle:{SECRET}")
        run(all_in_trouble(url, strategy, {FailureKind.AUTHORIZATION}))

        async def main() -> None:
            store = store_at(entered(redis.url, f"keyless:{SECRET}"), strategy)
            for call in (
                store.add(WINDOW, grouped(range(100))),
                store.mark(WINDOW, marker(1)),
                store.count(WINDOW, [marker(1)]),
            ):
                assert await trouble(call) is FailureKind.AUTHORIZATION
            await store.close()
            store = store_at(entered(redis.url, f"enough:{SECRET}"), strategy)
            await store.add(WINDOW, grouped(range(100)))
            assert (await store.count(WINDOW, [])).ids == 100
            await store.close()

        run(main())


def test_a_user_whose_scripts_may_not_do_what_they_do(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as redis:
        redis.command("ACL", "SETUSER", "u", "on", f">{SECRET}", "~*", "+@all", "-sadd", "-exists")

        async def main() -> None:
            store = store_at(entered(redis.url, f"u:{SECRET}"), "sets")
            assert await trouble(store.mark(WINDOW, marker(1))) is FailureKind.AUTHORIZATION
            assert await trouble(store.count(WINDOW, [])) is FailureKind.AUTHORIZATION
            await store.close()

        run(main())


@pytest.mark.parametrize(("strategy", "kind"), CASES)
def test_a_server_that_is_full(tmp_path: Path, strategy: str, kind: str) -> None:
    with PLACES[kind](tmp_path) as redis:

        async def main() -> None:
            store = store_at(redis.url, strategy)
            await store.add(WINDOW, grouped(range(100)))
            for server in redis.servers:
                server.command("CONFIG", "SET", "maxmemory", 1_000_000)
            assert await trouble(store.add(WINDOW, grouped(range(50, 200)))) is FailureKind.FULL
            assert await trouble(store.mark(WINDOW, marker(1))) is FailureKind.FULL
            # What is there can be counted.
            assert await store.count(WINDOW, [marker(1)]) == StoreCount(100, frozenset())
            for server in redis.servers:
                server.command("CONFIG", "SET", "maxmemory", 0)
            await store.add(WINDOW, grouped(range(50, 200)))
            assert (await store.count(WINDOW, [])).ids == 200
            await store.close()

        run(main())


def test_a_server_that_became_a_replica(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "a") as redis, RedisServer(tmp_path / "b") as other:

        async def main() -> None:
            store = store_at(redis.url, "sets")
            await store.add(WINDOW, grouped(range(100)))
            redis.command("REPLICAOF", "127.0.0.1", other.port)
            assert await trouble(store.add(WINDOW, grouped(range(100)))) is FailureKind.READ_ONLY
            assert await trouble(store.epochs()) is FailureKind.READ_ONLY
            await store.close()

        run(main())


# TLS


def _tls_server(directory: Path, ours: Path, theirs: Path) -> RedisServer:
    try:
        # Its usual port is for the test itself.
        free = RedisServer(directory / "port").port
        config = ["--tls-port", str(free), "--tls-cert-file", str(theirs), "--tls-key-file"]
        more = ["--tls-ca-cert-file", str(ours), "--tls-auth-clients", "yes"]
        server = RedisServer(directory / "redis", *config, str(theirs.with_suffix(".key")), *more)
        server.start()
    except AssertionError as error:
        if "tls-port" in str(error):
            pytest.skip("redis-server was built without TLS")
        raise
    server.tls_port = free  # type: ignore[attr-defined]
    return server


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_tls_with_a_private_authority_and_certificate(tmp_path: Path, strategy: str) -> None:
    theirs, ours = certificate(tmp_path, "redis"), certificate(tmp_path, "verve")
    server = _tls_server(tmp_path, ours, theirs)
    url = f"rediss://verve:{SECRET}@127.0.0.1:{server.tls_port}"  # type: ignore[attr-defined]
    server.command("ACL", "SETUSER", "verve", "on", f">{SECRET}", "~*", "+@all")

    async def attempt(tls: Mapping[str, str]) -> int:
        client = client_at(url, tls)
        store = begun(STRATEGIES[strategy](client, "tls", SECONDS))
        try:
            await store.add(WINDOW, grouped(range(100)))
            return (await store.count(WINDOW, [])).ids
        finally:
            await store.close()

    async def main() -> None:
        full = {"ssl_ca_certs": str(theirs), "ssl_certfile": str(ours)}
        assert await attempt(full) == 100
        assert await attempt({**full, "ssl_keyfile": str(ours.with_suffix(".key"))}) == 100
        # An authority that did not sign, none at all, and no certificate of one's own.
        assert await trouble(attempt({**full, "ssl_ca_certs": str(ours)})) is FailureKind.TLS
        assert await trouble(attempt({"ssl_certfile": str(ours)})) is FailureKind.TLS
        # The last is told of after the handshake: a connection that ends may take the word with it.
        with pytest.raises(StoreError) as refused:
            await attempt({"ssl_ca_certs": str(theirs)})
        assert refused.value.kind in {FailureKind.TLS, FailureKind.UNREACHABLE}
        assert "see `VERVE_REDIS_TLS" in str(refused.value)

    try:
        run(main())
    finally:
        server.kill()


def test_tls_with_a_server_that_has_none(redis_at: Callable[[str], Rig]) -> None:
    redis = redis_at("single")

    async def main() -> None:
        store = store_at(redis.url.replace("redis:", "rediss:"), "sets")
        # A Redis without TLS takes what it hears for a command that is not complete.
        found = await trouble(store.add(WINDOW, grouped([1])))
        assert found in {FailureKind.TLS, FailureKind.TIMEOUT}
        await store.close()

    run(main())


# Lost replies


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_lost_replies(
    tmp_path: Path,
    strategy: str,
    scale: Callable[[int], int],
    record_property: Callable[[str, object], None],
) -> None:
    batches, size = scale(10_000), 20
    with RedisServer(tmp_path) as redis, FaultProxy(redis.port) as proxy:

        async def add(store: Store, ids: Iterable[int]) -> None:
            groups = grouped(ids)
            for _ in range(100):
                try:
                    await store.add(WINDOW, groups)
                except StoreError:
                    continue
                return
            pytest.fail("a batch was never added")

        async def main() -> None:
            proxy.lose = 0.01
            store = store_at(proxy.url, strategy)
            for number in range(batches):
                await add(store, range(number * size, (number + 1) * size))
            await store.close()
            proxy.lose = 0.0
            store = store_at(proxy.url, strategy)
            found = (await store.count(WINDOW, [])).ids
            await store.close()
            missing = batches * size - found
            record_property("ids", batches * size)
            record_property("replies_lost", proxy.lost)
            record_property("ids_not_counted", missing)
            assert proxy.lost > 0
            if strategy == "sets":
                assert missing == 0
            else:
                assert missing > 0

        run(main(), 110)


def test_a_connection_that_ends_between_two_calls(place: Place) -> None:
    async def main() -> None:
        async with place.store() as store:
            await store.add(WINDOW, grouped(range(10)))
            for server in place.redis.servers:
                with Connection(server.port) as connection:
                    connection.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await settled(store.epochs)
            await store.add(WINDOW, grouped(range(20)))
            assert (await store.count(WINDOW, [])).ids == 20

    run(main())
