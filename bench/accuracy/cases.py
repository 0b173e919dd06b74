"""What happens while a window is counted, and one run of it against one service."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.accuracy.contenders import Counts, Deployment
from bench.accuracy.judge import Requests, judge
from bench.accuracy.stores import Statsd
from bench.harness import build
from bench.harness.server_process import ServerError
from tests.support.records import ACKNOWLEDGED, HEADER, PLACED, load

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.accuracy.contenders import Contender

SENDERS = 2
REPEATED = 500
"""Ids that are sent over and over by half of the requests; the others send new ones."""
AWAY_SECONDS = 10.0
LOST_SHARE = 0.05
STATSD_LEAD = 0.3
"""How long before a boundary statsd starts: it rounds its start to a second."""
_OTHERS_LATER = 0.7
_TICK = 0.001
"""The records of the generator have milliseconds."""


@dataclass(frozen=True)
class Case:
    """Requests at a constant rate, and a disturbance; times are seconds after a boundary."""

    name: str
    title: str
    window: int
    begin: float
    """When the requests begin."""
    seconds: float
    """How long requests are sent."""
    rate: int
    """Requests per second, over all instances."""
    disturb: Callable[[Deployment], None] | None = None
    at: float = 0.0
    """When the disturbance begins."""
    needs_replies: bool = False
    """Whether it disturbs what a store replies."""
    needs_store: bool = False

    @property
    def proxied(self) -> bool:
        """Whether the store needs a proxy before it."""
        return self.needs_replies or self.needs_store

    def applies_to(self, contender: Contender) -> bool:
        """Whether it can happen to a service."""
        return (not self.needs_replies or contender.answers_store) and (
            not self.needs_store or bool(contender.store)
        )


def _stop(deployment: Deployment) -> None:
    deployment.restart(kill=False)


def _kill(deployment: Deployment) -> None:
    deployment.restart(kill=True)


def _lose_replies(deployment: Deployment) -> None:
    deployment.proxy.lose = LOST_SHARE


def _take_store_away(deployment: Deployment) -> None:
    deployment.proxy.go_away()
    time.sleep(AWAY_SECONDS)
    deployment.proxy.come_back()


CASES = (
    Case("undisturbed", "undisturbed", 5, 5.5, 4.0, 250),
    Case("boundary", "across a boundary", 5, 8.0, 4.0, 750),
    Case("restart", "restart in the minute", 15, 3.0, 11.0, 250, _stop, 6.0),
    Case("kill", "`kill -9` in the minute", 15, 3.0, 11.0, 250, _kill, 6.0),
    Case("lost", "lost replies", 5, 5.5, 4.0, 250, _lose_replies, 5.0, needs_replies=True),
    Case(
        "away", "store away for 10 s", 15, 3.0, 11.0, 250, _take_store_away, 3.5, needs_store=True
    ),
)


def run(case: Case, contender: Contender, boundary: float) -> dict[str, Any]:
    """Run a case from `boundary` on, a time at which a window begins, and judge the counts."""
    cores = sorted(os.sched_getaffinity(0))
    statsd = contender.counts == Counts.GRAPHITE
    _sleep_until(boundary + (-STATSD_LEAD if statsd else _OTHERS_LATER))
    with (
        Deployment(contender, cores, case.window, proxied=case.proxied) as deployment,
        tempfile.TemporaryDirectory(prefix="verve-accuracy-") as folder,
    ):
        _sleep_until(boundary + case.begin - 0.1)
        senders = _Senders(Path(folder), deployment, case, boundary + case.begin)
        try:
            if case.disturb:
                _sleep_until(boundary + case.at)
                case.disturb(deployment)
            requests = senders.wait()
        finally:
            senders.kill()
        # An id that waits for a connection is sent late, perhaps in the next window.
        starts = np.unique(requests.begins // case.window * case.window)
        published = deployment.published(map(int, starts), float(requests.ends.max()))
        if isinstance(deployment.store, Statsd) and not deployment.store.aligned:
            raise ServerError("statsd did not start at the beginning of a window")
        lost = deployment.proxy.lost if case.proxied else 0
    judged = judge(requests, published, case.window)
    return {
        "acknowledged": judged.acknowledged,
        "requests": judged.requests,
        "refused": judged.refused,
        "lost_messages": lost,
        "bounds": {str(start): bounds for start, bounds in judged.bounds.items()},
        "published": {str(start): count for start, count in judged.published.items()},
        "error": judged.error,
        "share": round(judged.share, 6),
        "lost_in_all": judged.lost,
    }


class _Senders:
    """Two generators, which send the same ids: one per instance, or both to the only one."""

    def __init__(self, folder: Path, deployment: Deployment, case: Case, begin: float) -> None:
        self._folder = folder
        ports = [instance.port for instance in deployment.instances]
        _sleep_until(begin)
        self._processes = [
            subprocess.Popen(
                [
                    str(build.program(build.LOAD)),
                    f"127.0.0.1:{ports[place % len(ports)]}",
                    *("--rate", str(case.rate / SENDERS), "--duration", str(case.seconds)),
                    *("--ids", f"mixed:50/50:{REPEATED}", "--seed", str(place + 1)),
                    *("--window", str(case.window), "--connections", "32", "--quiet"),
                    *("--out", str(folder / f"records-{place}")),
                ],
                stdout=subprocess.PIPE,
            )
            for place in range(SENDERS)
        ]

    def wait(self) -> Requests:
        """Wait for the end of all, and return their requests."""
        for process in self._processes:
            output, _ = process.communicate(timeout=60)
            if process.returncode:
                raise build.BuildError(f"the load generator failed: {json.loads(output)}")
        return Requests.joined([_read(path) for path in self._folder.glob("records-*")])

    def kill(self) -> None:
        """End those that still run."""
        for process in self._processes:
            process.kill()
            process.wait()


def _read(path: Path) -> Requests:
    rows = load(path).rows
    started = float(np.fromfile(path, HEADER, 1)["started_at_ns"][0]) / 1e9
    begins = started + rows["sent_ms"] / 1e3
    ends = begins + rows["took_us"] / 1e6 + _TICK
    return Requests(rows["id"], begins, ends, np.isin(rows["kind"], (PLACED, ACKNOWLEDGED)))


def _sleep_until(time_: float) -> None:
    time.sleep(max(0.0, time_ - time.time()))
