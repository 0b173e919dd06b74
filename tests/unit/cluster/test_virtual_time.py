"""Coordinators on a loop with virtual time: no threads, no waiting, the same run every time."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from typing import TYPE_CHECKING

import pytest

from tests.support.cluster.in_memory import MemoryClient, MemoryRedis, MemoryStore
from tests.support.cluster.in_process import EventRecorder, Feed, HeldLease
from tests.support.cluster.virtual_time import EPOCH, VirtualLoop, machine
from tests.support.paths import ROOT
from tests.support.rig import counter_of, settings
from verve import ManualClock
from verve.cluster.coordinator.coordinator import Coordinator
from verve.cluster.replication.sender import IdSender

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECONDS = 10
WINDOWS = 6


class VirtualHost:
    """A host: a real counter, a real coordinator and a real sender, on one virtual loop."""

    def __init__(self, directory: Path, loop: VirtualLoop, redis: MemoryRedis, number: int) -> None:
        directory.mkdir()
        made = settings(
            directory,
            cluster="test",
            window=f"{SECONDS}s",
            sinks="log,kafka",
            kafka_brokers="127.0.0.1:1",
        )
        clock = ManualClock(wall=float(EPOCH))
        loop.clocks.append(clock.advance)
        self.counter = counter_of(made, clock, seed=number)
        self.feed, self.recorder, self.lease = Feed(), EventRecorder(), HeldLease()
        here = machine(loop, f"host-{number}", seed=number)

        def connect(_settings: object) -> tuple[MemoryClient, MemoryStore]:
            return MemoryClient(redis), MemoryStore(redis)

        self.coordinator = Coordinator(
            self.counter, made, self.lease, self.feed, self.recorder, connect, here
        )
        self.sender = IdSender(self.counter, made, connect, self.recorder, here)
        self.sender.queue()

    async def lead(self) -> None:
        """The other work of the leader's thread."""
        while True:
            self.counter.lease.acquire()
            self.counter.maintenance.run()
            await asyncio.sleep(0.05)

    def finals(self) -> dict[int, tuple[int, bool]]:
        """The last count of each window, and whether it is degraded."""
        return {w.window_start: (w.unique, w.degraded) for w in self.feed.windows}


def simulated(
    directory: Path, disturb: Callable[[MemoryRedis, int], None]
) -> tuple[list[VirtualHost], dict[int, set[int]], MemoryRedis]:
    """Two hosts count ids in several windows, half of them in common."""
    directory.mkdir()
    loop = VirtualLoop()
    redis = MemoryRedis(lambda: EPOCH + loop.time())
    hosts = [VirtualHost(directory / f"host-{n}", loop, redis, n) for n in range(2)]
    sent: dict[int, set[int]] = {}

    async def main() -> None:
        tasks = [
            asyncio.create_task(work)
            for host in hosts
            for work in (host.coordinator.serve(), host.lead(), host.sender.serve())
        ]
        for tick in range(WINDOWS * SECONDS):
            disturb(redis, tick)
            for number, host in enumerate(hosts):
                for id in range(10 * tick + 5 * number, 10 * tick + 5 * number + 10):
                    _, window = host.counter.add_in_window(id)
                    sent.setdefault(window, set()).add(id)
            await asyncio.sleep(1.0)
        await asyncio.sleep(4 * SECONDS)
        for host in hosts:
            host.sender.stop()
            host.coordinator.stop(leaves=True)
        await asyncio.sleep(3)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                task.result()

    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
        for host in hosts:
            host.counter.close()
    return hosts, sent, redis


def undisturbed(_redis: MemoryRedis, _tick: int) -> None:
    """Nothing goes wrong."""


def away(redis: MemoryRedis, tick: int) -> None:
    """Redis is away for two and a half windows."""
    redis.is_away = 22 <= tick < 47


def flushed(redis: MemoryRedis, tick: int) -> None:
    """Redis loses all that it has, within a window."""
    if tick == 35:
        for kept in (redis.hashes, redis.ids, redis.marks, redis.changed):
            kept.clear()


@pytest.mark.parametrize("disturb", [undisturbed, away, flushed])
def test_hosts_publish_what_was_sent_on_a_virtual_loop(
    tmp_path: Path, disturb: Callable[[MemoryRedis, int], None]
) -> None:
    threads = threading.active_count()
    hosts, sent, redis = simulated(tmp_path / "run", disturb)
    assert threading.active_count() == threads
    expected = {window: (len(ids), False) for window, ids in sent.items()}
    assert len(expected) == WINDOWS
    for host in hosts:
        finals = host.finals()
        assert {window: finals.get(window) for window in expected} == expected
    # A host that leaves takes its line away.
    assert not redis.hashes["verve:{test:10}:hosts"]


def test_two_runs_make_the_same_calls(tmp_path: Path) -> None:
    first, second = (simulated(tmp_path / name, away) for name in ("first", "second"))
    assert len(first[2].calls) > 1_000
    assert first[2].calls == second[2].calls
    # These name the hosts by the identities of their segments.
    assert first[2].hashes == second[2].hashes
    assert first[2].marks == second[2].marks
    assert [host.feed.windows for host in first[0]] == [host.feed.windows for host in second[0]]


OWN = r"\btime\.(time|monotonic|sleep)|\brandom\.|urandom|\buuid|\bsecrets\.|gethostname"
THREADS = r"to_thread|Executor|threading\.(Thread|Timer)\("


@pytest.mark.parametrize(
    ("names", "homes"),
    [
        (OWN, {"cluster/runtime/machine.py"}),
        (
            THREADS,
            {
                "cluster/runtime/machine.py",
                # The bodies of these threads are loops and steps, which a simulation runs itself.
                "cluster/runtime/event_loop.py",
                "cluster/replication/sender.py",
                "publishing/task.py",
                # The end of a process whose server is gone.
                "publishing/leader.py",
            },
        ),
    ],
    ids=["clocks and chance", "threads"],
)
def test_clocks_chance_and_threads_come_from_outside(names: str, homes: set[str]) -> None:
    package = ROOT / "python/verve"
    files = [*package.glob("cluster/**/*.py"), *package.glob("publishing/**/*.py")]
    found = {
        path.relative_to(package).as_posix() for path in files if re.search(names, path.read_text())
    }
    assert found == homes
