"""One measurement of one contender: a server under load, or a table by itself.

Each gives a `Sample`. What is wrong in it, above all a count, stands in its `problems`; the report
leaves such a sample out of the medians and says so.
"""

from __future__ import annotations

import itertools
import json
import resource
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import build
import machine
from receiver import Receiver
from running import Running
from servers import SERVERS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WARM_UP = 1.0
"""Seconds of load before a measurement."""
ROOM = 4.0
"""Seconds within a window for starting, and for what nobody foresees."""
# No two runs against one server share an id.
_bases = itertools.count(1_000_000_000, 1_000_000_000)


@dataclass(frozen=True)
class Sample:
    """Figures by name, and what they were taken from."""

    figures: Mapping[str, float]
    problems: list[str]
    disturbed: float = 0.0
    """Cores that others had meanwhile, on average."""
    raw: Mapping[str, Any] = field(default_factory=dict)


class Contender(Protocol):
    """What can be measured again and again."""

    @property
    def name(self) -> str:
        """Its name in files and options; what is Verve begins with `verve`."""

    @property
    def title(self) -> str:
        """Its name for a reader."""

    @property
    def rounds(self) -> int | None:
        """In how many rounds it takes part, if not in all."""

    def prepare(self) -> None:
        """Build what it needs; raises `MissingError`."""

    def measure(self) -> Sample:
        """Measure once."""


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
        build.program(build.LOAD)
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


@dataclass(frozen=True)
class Table:
    """A table without a server; what its operations mean stands in table/src/main.rs."""

    name: str
    title: str
    operation: str
    threads: int = 1
    distinct: int = 5_000_000
    rounds: int | None = None

    def prepare(self) -> None:
        """Build the program."""
        self._program()

    def measure(self) -> Sample:
        """Run it once."""
        command = [*self._program(), self.operation, str(self.threads), str(self.distinct)]
        cores = machine.cores()[: self.threads]
        watch, own = machine.Watch.of(cores), children_cpu()
        done = subprocess.run(machine.pinned(cores, command), stdout=subprocess.PIPE, check=False)
        disturbed = watch.foreign_share(children_cpu() - own)
        if not done.stdout:
            raise build.BuildError(f"the table benchmark failed: `{' '.join(command)}`")
        result: dict[str, Any] = json.loads(done.stdout)
        problems = [] if result["right"] else [f"counted {result['count']:,} of {self.distinct:,}"]
        names = ("per_second", "bytes_per_id", "milliseconds")
        figures = {name: float(result[name]) for name in names if name in result}
        return Sample(figures, problems, disturbed, result)

    def _program(self) -> list[str]:
        table = self.name.partition("-")[0]
        if table == "go":
            return [str(build.go_program(build.BENCH / "table" / "go"))]
        if table == "python":
            build.python_module("numpy")
            return [sys.executable, str(build.BENCH / "table" / "python_set.py")]
        return [str(build.program(build.TABLE)), table]


def load(port: int, window: int, cores: Sequence[int], arguments: Sequence[str]) -> dict[str, Any]:
    """What the load generator says of a run, whose ids no other run has sent."""
    command = [
        str(build.program(build.LOAD)),
        f"127.0.0.1:{port}",
        *arguments,
        *("--window", str(window), "--base", str(next(_bases)), "--quiet"),
    ]
    done = subprocess.run(machine.pinned(cores, command), stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise build.BuildError(f"the load generator failed: `{' '.join(command)}`")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def children_cpu() -> float:
    """CPU seconds of all programs that were run so far."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def figures_of(result: Mapping[str, Any]) -> dict[str, float]:
    """What a run of the load generator says, by the names that scenarios use."""
    near, away = result["near_us"], result["away_us"]
    figures = {
        "rate": result["rate"],
        "ids_rate": result["ids_rate"],
        "cpu_us": result["server_cpu_seconds"] / max(1, result["ids"]) * 1e6,
        "p50_ms": result["latency_us"]["p50"] / 1e3,
        "p99_ms": result["latency_us"]["p99"] / 1e3,
        "p99.9_ms": result["latency_us"]["p99.9"] / 1e3,
        "generator_cpu": result["cpu_seconds"] / max(1e-9, result["seconds"]),
    }
    if near["count"] and away["count"]:
        figures["near_p99_ms"] = near["p99"] / 1e3
        figures["away_p99_ms"] = away["p99"] / 1e3
        figures["near_to_away"] = near["p99"] / away["p99"]
    return figures


def answers_wrong(result: Mapping[str, Any]) -> list[str]:
    """What the load generator found wrong with the answers, a line a kind."""
    wrong = [f"{count} answers of {status}" for status, count in result["failed"].items()]
    wrong += [
        f"{count} requests without a good answer: {kind}"
        for kind, count in result["errors"].items()
    ]
    if result["unsent"]:
        wrong.append(f"{result['unsent']} requests could not be sent in time")
    if not result["ok"]:
        wrong.append("nothing was answered")
    return wrong


def count_wrong(running: Running, sent: int) -> list[str]:
    """Whether a server is what it was taken for, and counted the distinct ids that were sent."""
    wrong = []
    if not running.is_as_titled():
        wrong.append(f"it does not run as `{running.server.title}`")
    if running.server.counts and (counted := running.count(sent)) != sent:
        wrong.append(f"counted {counted:,} of {sent:,} distinct ids")
    return wrong


def await_room(window: int, seconds: float) -> None:
    """Wait until the current window has so many seconds left."""
    left = window - time.time() % window
    if left < seconds:
        time.sleep(left + 0.1)
