"""One measurement of one contender: a server under load, or a table by itself.

Each gives a `Sample`. What is wrong in it, above all a count, stands in its `problems`; the report
leaves such a sample out of the medians and says so.
"""

from __future__ import annotations

import itertools
import json
import resource
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import build
import machine
from servers import SERVERS, Running

if TYPE_CHECKING:
    from collections.abc import Mapping

WARM_UP = 1.0
"""Seconds of load before each measurement."""
NOISE = 0.1
"""Share of a core that others may have before a sample is marked as disturbed."""
# No two runs against one server share an id.
_bases = itertools.count(1_000_000_000, 1_000_000_000)


@dataclass(frozen=True)
class Sample:
    """Figures by name, and what they were taken from."""

    figures: Mapping[str, float]
    problems: list[str]
    disturbed: float
    """Share of the cores that others had meanwhile, at the most."""
    raw: Mapping[str, Any] = field(default_factory=dict)


class Contender(Protocol):
    """What can be measured again and again."""

    @property
    def name(self) -> str:
        """Its name in files and options."""

    @property
    def title(self) -> str:
        """Its name for a reader."""

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
    """Whether a run must not cross a boundary: its stream's ids would count twice."""

    @property
    def name(self) -> str:
        """The server's."""
        return self.server

    @property
    def title(self) -> str:
        """The server's."""
        return SERVERS[self.server].title

    def prepare(self) -> None:
        """Build the generator and the server."""
        build.program(build.LOAD)
        SERVERS[self.server].command(0, self.window)

    def measure(self) -> Sample:
        """Start the server, warm it up, load it, and compare its count with the ids sent."""
        core, other = machine.cores()
        if self.within_window:
            await_room(self.window, 2 * WARM_UP + self.seconds + 4)
        with Running(SERVERS[self.server], core, self.window) as running:
            warm = self._load(running.port, WARM_UP)
            cpu = running.cpu_seconds()
            busy, other_busy = machine.Busy.of(core), machine.Busy.of(other)
            result = self._load(running.port, self.seconds)
            cpu = running.cpu_seconds() - cpu
            disturbed = max(
                busy.foreign_share(core, cpu),
                other_busy.foreign_share(other, result["cpu_seconds"]),
            )
            problems = answers_wrong(warm) + answers_wrong(result)
            if not running.is_as_titled():
                problems.append(f"it does not run as `{self.title}`")
            if running.server.counts:
                sent = warm["distinct"] + result["distinct"]
                counted = running.count(sent)
                result["counted"], result["sent"] = counted, sent
                if counted != sent:
                    problems.append(f"counted {counted:,} of {sent:,} distinct ids")
        result["server_cpu_seconds"] = cpu
        return Sample(figures_of(result), problems, disturbed, result)

    def _load(self, port: int, seconds: float) -> dict[str, Any]:
        command = [
            str(build.program(build.LOAD)),
            f"127.0.0.1:{port}",
            *self.arguments,
            *("--duration", str(seconds), "--window", str(self.window)),
            *("--base", str(next(_bases)), "--quiet"),
        ]
        done = subprocess.run(
            machine.pinned(machine.cores()[1:], command), stdout=subprocess.PIPE, check=False
        )
        if done.returncode:
            raise build.BuildError(f"the load generator failed: `{' '.join(command)}`")
        result: dict[str, Any] = json.loads(done.stdout)
        return result


@dataclass(frozen=True)
class Table:
    """A table without a server: `verve-table NAME OPERATION THREADS`."""

    name: str
    title: str
    operation: str
    threads: int = 1
    distinct: int = 5_000_000

    def prepare(self) -> None:
        """Build the program."""
        build.program(build.TABLE)

    def measure(self) -> Sample:
        """Run it once."""
        table = self.name.partition("-")[0]
        command = [str(build.program(build.TABLE)), table, self.operation]
        command += [str(self.threads), str(self.distinct)]
        cores = machine.cores()[: min(self.threads, 2)]
        busy, own = [machine.Busy.of(core) for core in cores], _children_cpu()
        done = subprocess.run(machine.pinned(cores, command), stdout=subprocess.PIPE, check=False)
        own = _children_cpu() - own
        disturbed = sum(
            before.foreign_share(core, own / len(cores))
            for core, before in zip(cores, busy, strict=True)
        )
        if not done.stdout:
            raise build.BuildError(f"the table benchmark failed: `{' '.join(command)}`")
        result: dict[str, Any] = json.loads(done.stdout)
        problems = [] if result["right"] else [f"counted {result['count']:,} of {self.distinct:,}"]
        names = ("per_second", "bytes_per_id", "milliseconds")
        figures = {name: float(result[name]) for name in names if name in result}
        return Sample(figures, problems, disturbed, result)


def _children_cpu() -> float:
    """CPU seconds of all programs that were run so far."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def figures_of(result: Mapping[str, Any]) -> dict[str, float]:
    """What a run of the load generator says, by the names that scenarios use."""
    ids = max(1, result["ids"])
    return {
        "rate": result["rate"],
        "ids_rate": result["ids_rate"],
        "cpu_us": result["server_cpu_seconds"] / ids * 1e6,
        "p50_ms": result["latency_us"]["p50"] / 1e3,
        "p99_ms": result["latency_us"]["p99"] / 1e3,
        "p99.9_ms": result["latency_us"]["p99.9"] / 1e3,
        "near_p99_ms": result["near_us"]["p99"] / 1e3,
        "away_p99_ms": result["away_us"]["p99"] / 1e3,
        "generator_cpu": result["cpu_seconds"] / max(1e-9, result["seconds"]),
    }


def answers_wrong(result: Mapping[str, Any]) -> list[str]:
    """What the load generator found wrong with the answers, a line a kind."""
    wrong = [f"{count} answers of {status}" for status, count in result["failed"].items()]
    wrong += [
        f"{count} requests without a good answer: {kind}"
        for kind, count in result["errors"].items()
    ]
    if result["unsent"]:
        wrong.append(f"{result['unsent']} requests could not be sent in time")
    return wrong


def await_room(window: int, seconds: float) -> None:
    """Wait until the current window has so many seconds left."""
    left = window - time.time() % window
    if left < seconds:
        time.sleep(left + 0.1)
