"""Workers with unsent ids are killed and stopped: nothing is missing from the cluster's count."""

from __future__ import annotations

import os
import random
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.support import records
from tests.support.cluster.hosts import Cluster, assert_counted, assert_never_lowered
from tests.support.redis.server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import StartLoad
    from tests.support.service import Service

LOAD = ("--connections", "32", "--ids", "uniform:200000", "--rate", "4000", "--timeout", "8")


def await_workers(host: Service) -> None:
    """Wait until both workers count."""
    host.wait_until(lambda: len(host.workers()) >= 2, 20, "complete again")


@pytest.mark.timeout(480)
@pytest.mark.parametrize("fault", ["killed", "stopped"])
def test_workers_with_unsent_ids(
    fault: str, tmp_path: Path, start_load: StartLoad, scale: Callable[[int], int]
) -> None:
    with RedisServer(tmp_path / "redis") as redis, Cluster(tmp_path, redis.url, hosts=2) as cluster:
        loads = [start_load(host, *LOAD, "--seed", str(n)) for n, host in enumerate(cluster.hosts)]
        for number in range(scale(100)):
            host = cluster.hosts[number % 2]
            await_workers(host)
            time.sleep(random.uniform(0, 0.4))
            victim = random.choice(host.workers())
            if fault == "killed":
                os.kill(victim, signal.SIGKILL)
            else:
                os.kill(victim, signal.SIGSTOP)
                time.sleep(random.uniform(0.2, 1.0))
                os.kill(victim, signal.SIGCONT)
        for host in cluster.hosts:
            await_workers(host)
        results = [load.stop() for load in loads]
        for result in results:
            assert set(result.faults) <= {"closed", "reset", "connect", "timeout"}
        sent = records.load(*(load.out for load in loads))
        final = cluster.settled(sent.windows()[-1], 60)
        assert_counted(final, sent)
        assert_never_lowered(cluster.hosts)
