"""What a server costs without load: time until its first answer, idle CPU time, and memory."""

from __future__ import annotations

import time
from dataclasses import dataclass

from bench.contenders.one_server import OneServer
from bench.harness import machine
from bench.harness.load_generator import answers_wrong, count_wrong, load, wait_for_window_time
from bench.harness.sample import Sample
from bench.harness.server_process import ServerProcess
from bench.harness.servers import SERVERS

SETTLE = 2.0
"""Seconds after the first answer until a server is at rest."""
WINDOW = 60
IDS = 200_000
ROOM = 20.0
"""Seconds within a window that the slowest server needs to count `IDS`."""


@dataclass(frozen=True)
class _AtRest(OneServer):
    """A server on one core."""

    def _running(self) -> ServerProcess:
        return ServerProcess(SERVERS[self.server], machine.cores()[:1], WINDOW)


@dataclass(frozen=True)
class StartUpTime(_AtRest):
    """The time from the command to the first answer."""

    def measure(self) -> Sample:
        """Start the server and send an id until it is answered."""
        watch = machine.Watch.of(machine.cores()[:1])
        with self._running() as running:
            running.accept(1)
            took = time.monotonic() - running.started
            disturbed = watch.foreign_share(running.cpu_seconds())
            problems = count_wrong(running, 1)
        return Sample({"start_ms": took * 1e3}, problems, disturbed)


@dataclass(frozen=True)
class IdleCpu(_AtRest):
    """CPU time of an idle server."""

    seconds: float

    def measure(self) -> Sample:
        """Leave the server idle for `seconds` after its first answer."""
        with self._running() as running:
            running.accept(1)
            time.sleep(SETTLE)
            watch, cpu = machine.Watch.of(machine.cores()[:1]), running.cpu_seconds_exact()
            time.sleep(self.seconds)
            cpu = running.cpu_seconds_exact() - cpu
            disturbed = watch.foreign_share(cpu)
            problems = count_wrong(running, 1)
        return Sample({"cpu_s_per_minute": cpu / self.seconds * 60}, problems, disturbed)


@dataclass(frozen=True)
class Memory(_AtRest):
    """Memory of a server at rest, and after it has counted `IDS` ids."""

    def measure(self) -> Sample:
        """Take the memory before and after `IDS` ids in one window."""
        wait_for_window_time(WINDOW, ROOM)
        with self._running() as running:
            running.accept(1)
            time.sleep(SETTLE)
            rest = running.resident_bytes()
            requests = ("--connections", "64", "--requests", str(IDS))
            result = load(running.port, WINDOW, machine.cores()[1:], requests)
            full = running.resident_bytes()
            problems = answers_wrong(result) + count_wrong(running, result["distinct"] + 1)
        figures = {"full_mib": full / 2**20, "rest_mib": rest / 2**20}
        return Sample(figures, problems, raw=result)
