"""A server under load."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.harness import machine
from bench.harness.build import LOAD, program
from bench.harness.load_generator import answers_wrong, await_room, count_wrong, figures_of, load
from bench.harness.receiver import Receiver
from bench.harness.sample import Sample
from bench.harness.server_process import Running
from bench.harness.servers import SERVERS

if TYPE_CHECKING:
    from collections.abc import Sequence

WARM_UP = 1.0
"""Seconds of load before a measurement."""
ROOM = 4.0
"""Seconds within a window for starting, and for what nobody foresees."""


@dataclass(frozen=True)
class Loaded:
    """A server under load."""

    server: str
    arguments: tuple[str, ...]
    """For the load generator."""
    seconds: float
    window: int = 60
    within_window: bool = False
    """Whether a run must not cross a boundary, where ids that are sent twice count twice."""
    warm_up: float = WARM_UP
    all_cores: bool = False
    """Whether server and generator share all cores; else each has one."""
    redis_apart: bool = False
    """Whether its Redis has the generator's core, as another host's would be; else the server's."""
    endpoint: bool = False
    """Whether each request names an endpoint, of a receiver on the generator's core."""
    called: str = ""
    """A name of its own, where one server stands twice in a scenario."""
    heading: str = ""
    """The same for its title."""
    rounds: int | None = None

    @property
    def name(self) -> str:
        """The server's, unless it has its own."""
        return self.called or self.server

    @property
    def title(self) -> str:
        """The server's, unless it has its own."""
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
        if (came := receiver.came) != sent:
            sample.problems.append(f"{came:,} of {sent:,} callbacks came")
        return sample

    def _measure(self, arguments: Sequence[str]) -> Sample:
        one, other = machine.cores()
        server_cores = (one, other) if self.all_cores else (one,)
        load_cores = (one, other) if self.all_cores else (other,)
        if self.within_window:
            await_room(self.window, self.warm_up + self.seconds + ROOM)
        runs = []
        redis_cores = load_cores if self.redis_apart else server_cores
        with Running(SERVERS[self.server], server_cores, self.window, redis_cores) as running:
            if self.warm_up:
                runs.append(self._load(running.port, self.warm_up, load_cores, arguments))
            cpu = running.cpu_seconds()
            watches = machine.Watch.of(server_cores), machine.Watch.of(load_cores)
            result = self._load(running.port, self.seconds, load_cores, arguments)
            runs.append(result)
            cpu = running.cpu_seconds() - cpu
            if self.all_cores:
                disturbed = watches[0].foreign_share(cpu + result["cpu_seconds"])
            else:
                shares = zip(watches, (cpu, result["cpu_seconds"]), strict=True)
                disturbed = max(watch.foreign_share(own) for watch, own in shares)
            problems = [problem for run in runs for problem in answers_wrong(run)]
            problems += count_wrong(running, sum(run["distinct"] for run in runs))
            if self.endpoint:
                running.stop()  # which sends what waits
        result["server_cpu_seconds"] = cpu
        result["ids_in_all"] = sum(run["ids"] for run in runs)
        return Sample(figures_of(result), problems, disturbed, result)

    def _load(
        self, port: int, seconds: float, cores: Sequence[int], arguments: Sequence[str]
    ) -> dict[str, Any]:
        return load(port, self.window, cores, (*arguments, "--duration", str(seconds)))
