"""A server under load."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.harness import machine
from bench.harness.build import LOAD, program
from bench.harness.load_generator import (
    answers_wrong,
    count_wrong,
    figures_of,
    load,
    wait_for_window_time,
)
from bench.harness.receiver import Receiver
from bench.harness.sample import Sample
from bench.harness.server_process import ServerProcess
from bench.harness.servers import SERVERS

if TYPE_CHECKING:
    from collections.abc import Sequence

WARM_UP = 1.0
"""Seconds of load before a measurement."""
ROOM = 4.0
"""Seconds within a window for the start, and as a margin."""


@dataclass(frozen=True)
class LoadedServer:
    """A server under load."""

    server: str
    arguments: tuple[str, ...]
    """Arguments of the load generator."""
    seconds: float
    window: int = 60
    within_window: bool = False
    """Whether a run must not cross a boundary: there, an id that is sent twice counts twice."""
    warm_up: float = WARM_UP
    all_cores: bool = False
    """Whether server and generator share all cores; otherwise each has one core."""
    redis_apart: bool = False
    """Whether Redis runs on the generator's core, as if on another host, not on the server's."""
    endpoint: bool = False
    """Whether each request names an endpoint: a receiver on the generator's core."""
    share_of_limit: float = 0.0
    """The constant rate, as a share of the rate of the warm-up in a closed loop; 0 for no such."""
    beside: tuple[str, ...] = ()
    """Arguments of a second generator that loads the server meanwhile; empty for none."""
    called: str = ""
    """The name of the contender, if it differs from the server's."""
    heading: str = ""
    """The title of the contender, if it differs from the server's."""
    rounds: int | None = None

    @property
    def name(self) -> str:
        """`called` or `heading`, or else that of the server."""
        return self.called or self.server

    @property
    def title(self) -> str:
        """`called` or `heading`, or else that of the server."""
        return self.heading or SERVERS[self.server].title

    def prepare(self) -> None:
        """Build the generator and the server."""
        program(LOAD)
        SERVERS[self.server].prepare()

    def measure(self) -> Sample:
        """Start the server, warm it up, load it, and compare its count with the ids sent."""
        if not self.endpoint:
            return self._measure(self.arguments)
        _, other = machine.cores()
        with Receiver([other]) as receiver:
            sample = self._measure((*self.arguments, "--endpoint", receiver.url))
        sent = sample.raw["ids_in_all"]
        if (received := receiver.received) != sent:
            sample.problems.append(f"{received:,} of {sent:,} callbacks were received")
        return sample

    def _measure(self, arguments: Sequence[str]) -> Sample:
        one, other = machine.cores()
        server_cores = (one, other) if self.all_cores else (one,)
        load_cores = (one, other) if self.all_cores else (other,)
        if self.within_window:
            wait_for_window_time(self.window, self.warm_up + self.seconds + ROOM)
        runs = []
        redis_cores = load_cores if self.redis_apart else server_cores
        with ServerProcess(SERVERS[self.server], server_cores, self.window, redis_cores) as running:
            if self.warm_up:
                runs.append(self._load(running.port, self.warm_up, load_cores, arguments))
            if self.share_of_limit:
                rate = self.share_of_limit * runs[0]["rate"]
                arguments = (*arguments, "--rate", f"{rate:.0f}")
            cpu = running.cpu_seconds()
            watches = machine.Watch.of(server_cores), machine.Watch.of(load_cores)
            measured = self._measured(running.port, load_cores, arguments)
            result = measured[0]
            runs += measured
            result["cpu_seconds"] = sum(run["cpu_seconds"] for run in measured)
            cpu = running.cpu_seconds() - cpu
            if self.all_cores:
                disturbed = watches[0].foreign_share(cpu + result["cpu_seconds"])
            else:
                shares = zip(watches, (cpu, result["cpu_seconds"]), strict=True)
                disturbed = max(watch.foreign_share(own) for watch, own in shares)
            problems = [problem for run in runs for problem in answers_wrong(run)]
            problems += count_wrong(running, sum(run["distinct"] for run in runs))
            if self.endpoint:
                running.stop()  # sends the callbacks that wait
        result["server_cpu_seconds"] = cpu
        result["ids_in_all"] = sum(run["ids"] for run in runs)
        return Sample(figures_of(result), problems, disturbed, result)

    def _measured(
        self, port: int, cores: Sequence[int], arguments: Sequence[str]
    ) -> list[dict[str, Any]]:
        """Run the load, and the one beside it if there is one, and return their outputs."""
        commands = [arguments, *([self.beside] if self.beside else [])]
        with ThreadPoolExecutor(len(commands)) as pool:
            runs = [pool.submit(self._load, port, self.seconds, cores, one) for one in commands]
            return [run.result() for run in runs]

    def _load(
        self, port: int, seconds: float, cores: Sequence[int], arguments: Sequence[str]
    ) -> dict[str, Any]:
        return load(port, self.window, cores, (*arguments, "--duration", str(seconds)))
