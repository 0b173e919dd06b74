"""What goes wrong on one host. A function returns when it is over, not when all is well again."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import time
from typing import TYPE_CHECKING

from tests.torture.faults.memory import MemoryLimit

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator, Mapping

    from tests.torture.faults.mounts import Disk
    from tests.torture.faults.rig import Host

    HostFault = Callable[[Host, random.Random], float]
    """Returns the time from which on recovery counts."""

LONGEST_STOP = 5.0
LONGEST_STEP = 40.0
FOLLOWED_STEP = 5.0
"""Seconds of a step of the wall clock that windows follow at once, forward and back."""
_MEMORY_LIMIT = 8 << 20


def _kill(process: int, number: signal.Signals = signal.SIGKILL) -> None:
    # It may have ended by another fault.
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, number)


def _leader(host: Host) -> int | None:
    """The leader, if it can be told just now."""
    with contextlib.suppress(Exception):
        leader = host.service.leader()
        if leader in host.service.workers():
            return leader
    return None


def kill_worker(host: Host, draw: random.Random) -> float:
    """`kill -9` of one worker."""
    if workers := host.service.workers():
        _kill(draw.choice(workers))
    return time.monotonic()


def kill_leader(host: Host, draw: random.Random) -> float:
    """`kill -9` of the leader."""
    leader = _leader(host)
    if leader is None:
        return kill_worker(host, draw)
    _kill(leader)
    return time.monotonic()


def kill_workers(host: Host, _draw: random.Random) -> float:
    """`kill -9` of all workers at once."""
    for worker in host.service.workers():
        _kill(worker)
    return time.monotonic()


def kill_parent(host: Host, _draw: random.Random) -> float:
    """`kill -9` of the parent, which the workers do not outlive; then a start."""
    _kill(host.service.pid)
    began = time.monotonic()
    host.service.wait_until(lambda: not host.service.processes(), 30, "ended with its parent")
    host.service.kill()
    host.service.start(ready=False)
    return began


def kill_host(host: Host, draw: random.Random) -> float:
    """`kill -9` of all processes at once; then a start, at once or some windows later."""
    host.service.kill()
    began = time.monotonic()
    if draw.random() < 0.3:
        time.sleep(draw.uniform(0, 3 * host.service.window))
        began = time.monotonic()
    host.service.start(ready=False)
    return began


def _stop(host: Host, processes: list[int], draw: random.Random) -> float:
    with _stopped(processes):
        time.sleep(draw.uniform(0.1, LONGEST_STOP))
    del host
    return time.monotonic()


@contextlib.contextmanager
def _stopped(processes: list[int]) -> Iterator[None]:
    for process in processes:
        _kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            _kill(process, signal.SIGCONT)


def stop_worker(host: Host, draw: random.Random) -> float:
    """SIGSTOP of one worker for a while."""
    workers = host.service.workers()
    return _stop(host, draw.sample(workers, 1) if workers else [], draw)


def stop_leader(host: Host, draw: random.Random) -> float:
    """SIGSTOP of the leader for a while."""
    leader = _leader(host)
    return _stop(host, [] if leader is None else [leader], draw)


def stop_parent(host: Host, draw: random.Random) -> float:
    """SIGSTOP of the parent, and the death of a worker meanwhile."""
    with _stopped([host.service.pid]):
        kill_worker(host, draw)
        time.sleep(draw.uniform(0.1, 2))
    return time.monotonic()


def stop_host(host: Host, draw: random.Random) -> float:
    """SIGSTOP of all processes of the host for a while."""
    return _stop(host, host.service.processes(), draw)


def reload(host: Host, _draw: random.Random) -> float:
    """SIGHUP: each worker is replaced."""
    began = time.monotonic()
    old = set(host.service.workers())
    host.service.signal(signal.SIGHUP)
    host.service.wait_until(lambda: not old & set(host.service.workers()), 60, "reloaded")
    return began


def restart(host: Host, _draw: random.Random) -> float:
    """SIGTERM, and a start."""
    began = time.monotonic()
    host.service.stop(40)
    host.service.start(ready=False)
    return began


def remove_segment(host: Host, draw: random.Random) -> float:
    """The name of the segment's file is gone while workers die; later it is there again."""
    segment = host.service.segment
    kept = segment.with_name("kept")
    # Not unlinked: /proc would call the mapping deleted for good.
    segment.rename(kept)
    try:
        kill_worker(host, draw)
        time.sleep(draw.uniform(0.1, 3))
    finally:
        kept.rename(segment)
    return time.monotonic()


def fill_disk(host: Host, draw: random.Random) -> float:
    """The disk of ledger and spill is full."""
    assert host.state is not None
    return _filled(host.state, draw.uniform(0.5, 3 * host.service.window))


def fill_memory(host: Host, draw: random.Random) -> float:
    """The tmpfs of the segment is full."""
    assert host.memory is not None
    return _filled(host.memory, draw.uniform(0.5, 2 * host.service.window))


def _filled(disk: Disk, seconds: float) -> float:
    disk.fill()
    try:
        time.sleep(seconds)
    finally:
        disk.clear()
    return time.monotonic()


def lack_descriptors(host: Host, draw: random.Random) -> float:
    """No process of the host may open more files than it has now."""
    before: dict[int, tuple[int, int]] = {}
    usual = resource.getrlimit(resource.RLIMIT_NOFILE)
    for process in host.service.processes():
        with contextlib.suppress(OSError):
            held = len(os.listdir(f"/proc/{process}/fd"))  # noqa: PTH208 - only how many
            old = resource.prlimit(process, resource.RLIMIT_NOFILE)
            resource.prlimit(process, resource.RLIMIT_NOFILE, (held, old[1]))
            before[process] = old
    try:
        time.sleep(draw.uniform(0.5, 4))
    finally:
        for process in [*before, *host.service.processes()]:
            # A worker that was started meanwhile has the limit that its parent had.
            with contextlib.suppress(OSError):
                limit = before.get(process, usual)
                resource.prlimit(process, resource.RLIMIT_NOFILE, limit)
    return time.monotonic()


def limit_memory(host: Host, draw: random.Random) -> float:
    """A memory cgroup of a few MiB for whatever the host asks for from now on."""
    limit = MemoryLimit(f"verve-torture-{os.getpid()}-{host.name}", _MEMORY_LIMIT)
    try:
        limit.take(host.service.processes())
        time.sleep(draw.uniform(0.5, 4))
    finally:
        limit.close()
    return time.monotonic()


KILLS: Mapping[str, int] = {
    "worker killed": 1,
    "leader killed": 1,
    "all workers killed": 2,
    "parent killed": 1,
    "host killed": 3,
    "parent stopped": 1,
    "segment removed": 1,
}
"""How many processes each fault kills at least, with two workers per host."""

HOST_FAULTS: Mapping[str, tuple[HostFault, int]] = {
    "worker killed": (kill_worker, 12),
    "leader killed": (kill_leader, 12),
    "all workers killed": (kill_workers, 5),
    "parent killed": (kill_parent, 2),
    "host killed": (kill_host, 4),
    "worker stopped": (stop_worker, 3),
    "leader stopped": (stop_leader, 3),
    "parent stopped": (stop_parent, 2),
    "host stopped": (stop_host, 2),
    "reload": (reload, 2),
    "restart": (restart, 2),
    "segment removed": (remove_segment, 2),
    "too few descriptors": (lack_descriptors, 2),
}
"""Each with its weight."""

DISK_FAULTS: Mapping[str, tuple[HostFault, int]] = {
    "disk full": (fill_disk, 3),
    "tmpfs full": (fill_memory, 3),
}
"""Those that need disks of their own."""

CLOCK_FAULTS: Mapping[str, int] = {"clock forward": 1, "clock back": -1}
"""Steps of the wall clock of one host, while its other faults go on."""

MEMORY_FAULTS: Mapping[str, tuple[HostFault, int]] = {"memory limit": (limit_memory, 2)}
"""Those that need a memory cgroup."""
