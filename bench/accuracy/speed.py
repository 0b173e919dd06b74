"""Requests per second and CPU time per id of each service, with its store on the same core."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from bench.accuracy.contenders import Counts, Deployment
from bench.harness import machine
from bench.harness.load_generator import answers_wrong, load, wait_for_window_time

if TYPE_CHECKING:
    from bench.accuracy.contenders import Contender

_WARM_UP_SECONDS = 1.0
_CONNECTIONS = ("--connections", "64", "--ids", "distinct")
_WINDOW, _FLUSH = 60, 5
"""Seconds; statsd shows its counts with a flush only, so it flushes more often."""
_ROOM_SECONDS = 5.0


def measure(contender: Contender, seconds: float) -> dict[str, Any]:
    """Load one instance with distinct ids, as fast as it answers, and compare the counts."""
    server, generator = machine.cores()
    window = _FLUSH if contender.counts == Counts.GRAPHITE else _WINDOW
    if window == _WINDOW:
        wait_for_window_time(window, _WARM_UP_SECONDS + seconds + _ROOM_SECONDS)
    with Deployment(contender, [server], window, instances=1) as deployment:
        port = deployment.instances[0].port
        runs = [_load(port, window, generator, _WARM_UP_SECONDS)]
        cpu, watch = deployment.cpu_seconds(), machine.Watch.of([server, generator])
        runs.append(_load(port, window, generator, seconds))
        cpu = deployment.cpu_seconds() - cpu
        disturbed = watch.foreign_share(cpu + runs[-1]["cpu_seconds"])
        sent = sum(run["distinct"] for run in runs)
        if contender.counts == Counts.HTTP:
            counted = deployment.instances[0].count(sent)
        else:
            counted = sum(deployment.published([], time.time()).values())
    measured = runs[-1]
    return {
        "rate": measured["rate"],
        "cpu_us": cpu / max(1, measured["ids"]) * 1e6,
        "error": counted - sent,
        "share": (counted - sent) / max(1, sent),
        "problems": [problem for run in runs for problem in answers_wrong(run)],
        "disturbed": disturbed,
    }


def _load(port: int, window: int, core: int, seconds: float) -> dict[str, Any]:
    return load(port, window, [core], (*_CONNECTIONS, "--duration", str(seconds)))
