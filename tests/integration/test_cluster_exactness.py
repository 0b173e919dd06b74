"""Three hosts that share a Redis publish the distinct ids over all of them, once a window."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.support import records
from tests.support.cluster.hosts import (
    Cluster,
    assert_exactly_counted,
    assert_never_lowered,
    assert_overlap,
    revisions,
)
from tests.support.redis.server import Monitor, RedisCluster, RedisServer
from tests.support.witnesses import assert_unbroken

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import StartLoad

WINDOWS = 100
STREAMS = ("uniform:20000", "zipf:60000:1.05", "uniform:30000")
RATE = ("--connections", "16", "--rate", "1500")


@pytest.mark.timeout(420)
@pytest.mark.parametrize("kind", [RedisServer, RedisCluster])
def test_three_hosts_count_as_one(
    kind: type[RedisServer | RedisCluster],
    tmp_path: Path,
    start_load: StartLoad,
    scale: Callable[[int], int],
) -> None:
    with kind(tmp_path / "redis") as redis, Monitor(redis) as monitor:
        # A host that stops for a moment is waited for: each window is published once.
        patient = {"VERVE_CLUSTER_GRACE": "20s"}
        with Cluster(tmp_path, redis.url, environment=patient) as cluster:
            loads = [
                start_load(host, *RATE, "--ids", stream, "--seed", str(number))
                for number, (host, stream) in enumerate(zip(cluster.hosts, STREAMS, strict=True))
            ]
            time.sleep(cluster.window * scale(WINDOWS) + 1)
            results = [load.stop() for load in loads]
            assert [result.faults for result in results] == [{}, {}, {}]
            assert_overlap([result.records for result in results])
            sent = records.load(*(load.out for load in loads))
            last = sent.windows()[-1]
            final = cluster.settled(last, 60)

            assert len(sent.windows()) >= scale(WINDOWS)
            assert_unbroken(final, cluster.window)
            assert_exactly_counted(final, sent)
            assert_never_lowered(cluster.hosts)
            for host in cluster.hosts:
                logged = [one for one in revisions(host) if one.window_start <= last]
                starts = [one.window_start for one in logged]
                assert len(set(starts)) == len(starts), "a window was published more than once"
                assert {one.window_start: one for one in logged} == {
                    start: final[start] for start in starts
                }
        monitor.assert_no_forbidden()
