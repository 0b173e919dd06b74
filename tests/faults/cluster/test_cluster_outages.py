"""Redis is killed, stopped, cut off, slow, emptied, failed over, evicted from.

Every acknowledged id is in the final revision, no revision is lower than the one before, and no
request fails.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Protocol

import pytest

from tests.support import records
from tests.support.caller import FULL
from tests.support.cluster.hosts import Cluster, assert_exactly_counted, assert_never_lowered
from tests.support.redis.server import FaultProxy, RedisCluster, RedisServer, Sentinels
from tests.support.timing import sleep_into_window

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import StartLoad

LOAD = ("--connections", "16", "--rate", "1000", "--ids")
STREAMS = ("uniform:10000", "uniform:15000")


class Under(Protocol):
    """Runs load on two hosts during a fault, and checks the records that they published."""

    def __call__(self, url: str, happens: Callable[[], None], settle: float = 60) -> None:
        """`happens` begins within a window, with ids in it; `settle`: seconds to agree after."""


@pytest.fixture
def under(tmp_path: Path, start_load: StartLoad) -> Under:
    def run(url: str, happens: Callable[[], None], settle: float = 60) -> None:
        with Cluster(tmp_path, url, hosts=2) as cluster:
            loads = [
                start_load(host, *LOAD, stream, "--seed", str(number))
                for number, (host, stream) in enumerate(zip(cluster.hosts, STREAMS, strict=True))
            ]
            time.sleep(2 * cluster.window)
            happens()
            time.sleep(2 * cluster.window)
            results = [load.stop() for load in loads]
            assert [result.faults for result in results] == [{}, {}], "a request failed"
            sent = records.load(*(load.out for load in loads))
            final = cluster.settled(sent.windows()[-1], settle)
            assert_exactly_counted(final, sent)
            assert_never_lowered(cluster.hosts)

    return run


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seconds", [1, 10, pytest.param(70, marks=pytest.mark.full)])
@pytest.mark.parametrize("fault", ["killed", "stopped"])
def test_redis_away(fault: str, seconds: int, tmp_path: Path, under: Under) -> None:
    """Killed, it comes back empty: nothing of it is on a disk."""
    with RedisServer(tmp_path / "redis") as redis:

        def happens() -> None:
            redis.kill() if fault == "killed" else redis.pause()
            time.sleep(seconds)
            redis.start() if fault == "killed" else redis.resume()

        under(redis.url, happens)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("fault", ["cut", "delayed"])
def test_replies_that_do_not_come(fault: str, tmp_path: Path, under: Under) -> None:
    with RedisServer(tmp_path / "redis") as redis, FaultProxy(redis.port) as proxy:

        def happens() -> None:
            for _ in range(20 if FULL else 5):
                if fault == "cut":
                    proxy.cut_replies()
                    time.sleep(random.uniform(0.1, 0.5))
                else:
                    proxy.delay = 3.0
                    time.sleep(0.5)
                    proxy.delay = 0.0
                    time.sleep(random.uniform(0.1, 0.5))

        under(proxy.url, happens)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("when", ["in-window", "at-the-end"])
def test_redis_emptied(
    when: str, tmp_path: Path, under: Under, scale: Callable[[int], int]
) -> None:
    """`at-the-end`: at a random moment near completion and commit."""
    with RedisServer(tmp_path / "redis") as redis:

        def happens() -> None:
            for _ in range(scale(20)):
                into = random.uniform(0.2, 1.8) if when == "in-window" else random.uniform(0, 0.12)
                sleep_into_window(2, into)
                redis.command("FLUSHALL")

        under(redis.url, happens)


@pytest.mark.timeout(300)
def test_a_shard_is_evicted(tmp_path: Path, under: Under, scale: Callable[[int], int]) -> None:
    with RedisServer(tmp_path / "redis") as redis:

        def happens() -> None:
            for _ in range(scale(30)):
                time.sleep(random.uniform(0.1, 0.5))
                start = int(time.time()) // 2 * 2
                shard = random.randrange(16)
                # An eviction removes the whole key.
                redis.command("UNLINK", f"verve:{{test:2:{start}:{shard}}}:ids")

        under(redis.url, happens)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("kind", ["sentinels", pytest.param("cluster", marks=pytest.mark.full)])
def test_a_failover_that_loses_writes(kind: str, tmp_path: Path, under: Under) -> None:
    directory = tmp_path / "redis"
    with (
        Sentinels(directory)
        if kind == "sentinels"
        else RedisCluster(directory, replicas=True) as servers
    ):

        def happens() -> None:
            # From here on the replica receives no acknowledged write.
            servers.hold_replica()
            time.sleep(0.7)
            servers.kill_master()
            servers.release_replica()
            servers.wait_failover()

        under(servers.url, happens)
