"""Hosts whose wall clocks differ agree on every window: they go by the clock of Redis."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.support import records
from tests.support.cluster.hosts import Cluster, assert_exactly_counted, assert_never_lowered
from tests.support.redis.server import RedisServer
from tests.support.wall_clock import build

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import StartLoad


@pytest.mark.timeout(240)
def test_clocks_that_differ_by_five_seconds(
    tmp_path: Path, start_load: StartLoad, scale: Callable[[int], int]
) -> None:
    library = str(build(tmp_path))
    each = [{"LD_PRELOAD": library, "VERVE_TEST_SHIFT": shift} for shift in ("0", "5", "-5")]
    with (
        RedisServer(tmp_path / "redis") as redis,
        Cluster(tmp_path, redis.url, each=each) as cluster,
    ):
        skews = [host.metrics()["verve_cluster_skew_seconds"] for host in cluster.hosts]
        assert [round(skew) for skew in skews] == [0, 5, -5]
        loads = [
            start_load(host, "--rate", "1000", "--ids", "uniform:10000", "--seed", str(number))
            for number, host in enumerate(cluster.hosts)
        ]
        time.sleep(cluster.window * scale(50) + 1)
        results = [load.stop() for load in loads]
        assert [result.faults for result in results] == [{}, {}, {}]
        sent = records.load(*(load.out for load in loads))
        final = cluster.settled(sent.windows()[-1])
        # The answers of all hosts name windows of one clock, that of Redis, which is this one's.
        starts = sent.windows()
        assert max(starts) - min(starts) <= cluster.window * (scale(50) + 3)
        assert_exactly_counted(final, sent)
        assert_never_lowered(cluster.hosts)
