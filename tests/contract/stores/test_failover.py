"""A client follows the sentinels with all of its connections, not with new ones alone."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.cluster.store_use import MINUTE, Redis, grouped
from tests.support.redis.server import Sentinels, wait_until
from verve.stores import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from verve.stores import RedisClient, Store


async def until_done(call: Callable[[], Awaitable[object]], seconds: float = 20) -> int:
    """Call until it works; how often that failed."""
    until = time.monotonic() + seconds
    failed = 0
    while True:
        try:
            await call()
        except StoreError:
            failed += 1
            assert time.monotonic() < until
            await asyncio.sleep(0.05)
        else:
            return failed


@pytest.mark.timeout(120)
def test_no_connection_stays_with_a_master_that_was_replaced(tmp_path: Path, cluster: str) -> None:
    """The old one can be reached yet, and takes itself for the master: nobody may tell it."""
    with Sentinels(tmp_path / "redis") as sentinels:
        old = sentinels.master
        old.command("ACL", "SETUSER", "default", "-slaveof", "-replicaof", "-client|kill")

        async def test(client: RedisClient, store: Store) -> None:
            await store.add(MINUTE, grouped(range(100)))
            before = await store.epochs()
            await asyncio.to_thread(sentinels.fail_over)
            assert old.info("role") == "master"
            # The connection to it is in use while the sentinels are asked, for another.
            waits = asyncio.ensure_future(client.redis.blpop("verve:none", timeout=1))
            await asyncio.sleep(0.1)
            assert (await store.epochs()) != before
            await waits
            for _ in range(3):
                assert (await store.epochs()) != before
                await store.add(MINUTE, grouped(range(50, 150)))
            assert (await store.count(MINUTE, [])).ids == 150

        Redis(sentinels.url, "sets").use(tmp_path, cluster).with_client(test)


@pytest.mark.timeout(120)
def test_a_master_that_was_demoted_is_left_at_once(tmp_path: Path, cluster: str) -> None:
    with Sentinels(tmp_path / "redis") as sentinels:

        async def test(store: Store) -> None:
            await store.add(MINUTE, grouped(range(100)))
            before = await store.epochs()
            await asyncio.to_thread(sentinels.fail_over)
            wait_until(lambda: sentinels.master.info("role") == "slave" or None, "demoted")
            assert await until_done(store.epochs) <= 3
            assert await until_done(lambda: store.add(MINUTE, grouped(range(50, 150)))) <= 3
            assert (await store.count(MINUTE, [])).ids == 150
            assert await store.epochs() != before

        Redis(sentinels.url, "sets").use(tmp_path, cluster)(test)
