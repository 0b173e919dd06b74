"""Replies that are lost, late or cut off; servers that refuse, are away, or are replaced."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.cluster.store_use import MARKS, MINUTE, Redis, grouped
from tests.support.network.certificates import certificate
from tests.support.network.ports import free_port
from tests.support.redis.server import FaultProxy, RedisCluster, RedisServer, Sentinels, wait_until
from verve._verve import SHARDS
from verve.stores import FailureKind, StoreError, client

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from verve.stores import RedisClient, Store


def insist(groups: Mapping[int, list[bytes]]) -> Callable[[Store], Awaitable[int]]:
    """Add until it is acknowledged, as the sender does; how often it was not."""

    async def add(store: Store) -> int:
        for failures in range(50):
            try:
                await store.add(MINUTE, groups)
            except StoreError:
                continue
            return failures
        raise AssertionError("it is never acknowledged")

    return add


def test_sets_lose_nothing_with_lost_replies(
    single: RedisServer, tmp_path: Path, cluster: str
) -> None:
    with FaultProxy(single.port) as proxy:

        async def test(store: Store) -> None:
            proxy.lose = 0.2
            failures = 0
            for start in range(0, 60_000, 500):
                failures += await insist(grouped(range(start, start + 500)))(store)
            proxy.lose = 0.0
            assert failures
            assert (await store.count(MINUTE, [])).ids == 60_000

        Redis(proxy.url, "sets").use(tmp_path, cluster)(test)
    assert proxy.lost


def test_keys_count_too_few_with_lost_replies(
    single: RedisServer,
    tmp_path: Path,
    cluster: str,
    record_property: Callable[[str, object], None],
) -> None:
    """What the sets are for: each lost reply of a batch may cost all of its ids."""
    ids = 40_000
    with FaultProxy(single.port) as proxy:

        async def test(store: Store) -> None:
            # Batches of 100 ids have two replies each.
            proxy.lose = 0.01
            for start in range(0, ids, 100):
                await insist(grouped(range(start, start + 100)))(store)
            proxy.lose = 0.0
            found = (await store.count(MINUTE, [])).ids
            record_property("missing", f"{ids - found} of {ids}, {proxy.lost} replies lost")
            assert found <= ids
            assert ids - found <= proxy.lost * 100

        Redis(proxy.url, "keys").use(tmp_path, cluster)(test)
    assert proxy.lost


def test_replies_that_are_cut_off(single: RedisServer, tmp_path: Path, cluster: str) -> None:
    with FaultProxy(single.port) as proxy:

        async def test(store: Store) -> None:
            for start in range(0, 20_000, 1_000):
                adding = asyncio.ensure_future(insist(grouped(range(start, start + 1_000)))(store))
                if start % 5_000 == 0:
                    await asyncio.to_thread(proxy.cut_replies, 0.01)
                await adding
            assert (await store.count(MINUTE, [])).ids == 20_000

        Redis(proxy.url, "sets").use(tmp_path, cluster)(test)


def test_replies_that_are_late(
    single: RedisServer, tmp_path: Path, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reply that came past the deadline is not taken for that of the next command."""
    with FaultProxy(single.port) as proxy:

        async def test(of: RedisClient, store: Store) -> None:
            await store.add(MINUTE, grouped(range(100)))
            proxy.delay = 0.4
            monkeypatch.setattr(client, "CALL_SECONDS", 0.2)
            for call in (
                of.run("return 'late'", ["k"], []),
                store.add(MINUTE, grouped(range(100, 200))),
                store.count(MINUTE, MARKS),
                of.epochs(),
            ):
                began = time.monotonic()
                with pytest.raises(StoreError) as caught:
                    await call
                assert caught.value.kind is FailureKind.TIMEOUT
                assert time.monotonic() - began < 3
            proxy.delay = 0.0
            monkeypatch.undo()
            for number in range(50):
                assert await of.run("return ARGV[1]", ["k"], [number]) == str(number).encode()
            await store.add(MINUTE, grouped(range(100, 200)))
            assert (await store.count(MINUTE, [])).ids == 200

        Redis(proxy.url, "sets").use(tmp_path, cluster).with_client(test)


@pytest.mark.parametrize("fault", ["killed", "stopped"])
def test_a_server_that_is_away_and_comes_back(
    fault: str, tmp_path: Path, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RedisServer(tmp_path / "redis") as server:

        async def test(of: RedisClient, store: Store) -> None:
            await store.add(MINUTE, grouped(range(100)))
            before = await store.epochs()
            server.kill() if fault == "killed" else server.pause()
            monkeypatch.setattr(client, "CALL_SECONDS", 0.5)
            troubles = set()
            for call in (
                store.add(MINUTE, grouped(range(50, 150))),
                store.mark(MINUTE, MARKS[0]),
                store.count(MINUTE, MARKS),
                store.epochs(),
                of.run("return 1", ["k"], []),
                of.time_microseconds(),
            ):
                with pytest.raises(StoreError, match=f":{server.port}`") as caught:
                    await call
                troubles.add(caught.value.kind)
            server.start() if fault == "killed" else server.resume()
            monkeypatch.undo()
            await store.mark(MINUTE, MARKS[0])
            await store.add(MINUTE, grouped(range(50, 150)))
            found = await store.count(MINUTE, [])
            if fault == "killed":
                assert troubles == {FailureKind.UNREACHABLE}
                assert found.ids == 100
                assert await store.epochs() != before
                # It was empty, so what is there is to expire as what was there before.
                for key in server.command("KEYS", "verve:*"):
                    assert server.command("TTL", key) > 0
            else:
                assert troubles == {FailureKind.TIMEOUT}
                assert found.ids == 150
                assert await store.epochs() == before

        Redis(server.url, "sets").use(tmp_path, cluster).with_client(test)


def test_a_server_that_is_full(tmp_path: Path, cluster: str) -> None:
    config = ("--maxmemory", "3mb", "--maxmemory-policy", "noeviction")
    with RedisServer(tmp_path / "redis", *config) as server:

        async def test(of: RedisClient, store: Store) -> None:
            assert await of.eviction_policy() == "noeviction"
            with pytest.raises(StoreError, match="more memory") as caught:
                await store.add(MINUTE, grouped(range(300_000)))
            assert caught.value.kind is FailureKind.FULL
            # What reads still works, over the same connections.
            assert (await store.count(MINUTE, [])).ids > 0

        Redis(server.url, "sets").use(tmp_path, cluster).with_client(test)


def test_a_replica_takes_nothing(watched: Sentinels, tmp_path: Path, cluster: str) -> None:
    async def test(store: Store) -> None:
        with pytest.raises(StoreError) as caught:
            await store.add(MINUTE, grouped([1]))
        assert caught.value.kind is FailureKind.READ_ONLY
        with pytest.raises(StoreError) as caught:
            await store.epochs()
        assert caught.value.kind is FailureKind.READ_ONLY

    Redis(watched.replica.url, "sets").use(tmp_path, cluster)(test)


def test_tls(tmp_path: Path, cluster: str) -> None:
    theirs, ours, other = (certificate(tmp_path, name) for name in ("redis", "verve", "other"))
    port = free_port()
    config = (
        *("--tls-port", str(port), "--tls-cert-file", str(theirs), "--tls-key-file", str(theirs)),
        *("--tls-ca-cert-file", str(ours), "--tls-auth-clients", "yes"),
    )
    with RedisServer(tmp_path / "redis", *config):
        url = f"rediss://127.0.0.1:{port}"
        known = {"redis_tls_ca": str(theirs), "redis_tls_certificate": str(ours)}

        async def works(store: Store) -> None:
            await store.add(MINUTE, grouped(range(10)))
            assert (await store.count(MINUTE, [])).ids == 10
            assert await store.epochs()

        Redis(url, "sets").use(tmp_path, cluster, **known)(works)

        async def refused(store: Store) -> None:
            with pytest.raises(StoreError) as caught:
                await store.add(MINUTE, grouped([1]))
            assert caught.value.kind is FailureKind.TLS

        Redis(url, "sets").use(tmp_path, cluster, redis_tls_ca=str(other))(refused)
        Redis(url, "sets").use(tmp_path, cluster)(refused)
        # The name in the certificate is not that of the server.
        named = Redis(f"rediss://localhost:{port}", "sets")
        named.use(tmp_path, cluster, **known)(refused)


@pytest.mark.timeout(180)
def test_sets_with_sentinels_go_on_with_the_new_master(tmp_path: Path, cluster: str) -> None:
    with Sentinels(tmp_path / "redis") as sentinels:

        async def test(store: Store) -> None:
            await store.add(MINUTE, grouped(range(1_000)))
            before = await store.epochs()
            wait_until(lambda: sentinels.replica.command("DBSIZE") == 2 * SHARDS or None, "a copy")
            await asyncio.to_thread(sentinels.hold_replica)
            await store.add(MINUTE, grouped(range(1_000, 2_000)))
            await asyncio.to_thread(sentinels.kill_master)
            with pytest.raises(StoreError):
                await store.add(MINUTE, grouped(range(2_000, 3_000)))
            sentinels.release_replica()
            await asyncio.to_thread(sentinels.wait_failover)
            await in_the_end(lambda: store.add(MINUTE, grouped(range(2_000, 3_000))))
            # What the old one acknowledged last is lost, and the epochs tell.
            assert (await store.count(MINUTE, [])).ids == 2_000
            assert await store.epochs() != before

        Redis(sentinels.url, "sets").use(tmp_path, cluster)(test)


@pytest.mark.timeout(180)
def test_sets_in_a_cluster_go_on_with_the_new_master(tmp_path: Path, cluster: str) -> None:
    with RedisCluster(tmp_path / "redis", replicas=True) as masters:

        async def test(store: Store) -> None:
            await store.add(MINUTE, grouped(range(1_000)))
            before = await store.epochs()
            masters.nodes[0].kill()
            await in_the_end(lambda: store.add(MINUTE, grouped(range(500, 2_000))))
            await in_the_end(store.epochs)
            assert await store.epochs() != before
            # What the old one had not copied yet is lost. The epochs tell, so all is sent again.
            await in_the_end(lambda: store.add(MINUTE, grouped(range(2_000))))
            assert (await store.count(MINUTE, [])).ids == 2_000

        Redis(masters.url, "sets").use(tmp_path, cluster)(test)


async def in_the_end(call: Callable[[], Awaitable[object]], seconds: float = 40) -> None:
    """Call until it works."""
    end = time.monotonic() + seconds
    while True:
        try:
            await call()
        except StoreError:
            assert time.monotonic() < end
            await asyncio.sleep(0.1)
        else:
            return
