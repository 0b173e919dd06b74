"""Runs of the load generator: their figures and their faults."""

from __future__ import annotations

import itertools
import json
import subprocess
import time
from typing import TYPE_CHECKING, Any

from bench.harness import build, machine

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.harness.server_process import ServerProcess

# No two runs against one server share an id.
_bases = itertools.count(1_000_000_000, 1_000_000_000)


def load(port: int, window: int, cores: Sequence[int], arguments: Sequence[str]) -> dict[str, Any]:
    """Run the load generator with ids that no other run has sent, and return its output."""
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


def figures_of(result: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures of a run, by the names that scenarios use."""
    near, away = result["near_us"], result["away_us"]
    figures = {
        "rate": result["rate"],
        "ids_rate": result["ids_rate"],
        "cpu_us": result["server_cpu_seconds"] / max(1, result["ids"]) * 1e6,
        "p50_ms": result["latency_us"]["p50"] / 1e3,
        "p99_ms": result["latency_us"]["p99"] / 1e3,
        "p99.9_ms": result["latency_us"]["p99.9"] / 1e3,
        "generator_cpu": result["cpu_seconds"] / max(1e-9, result["seconds"]),
        "server_cpu": result["server_cpu_seconds"] / max(1e-9, result["seconds"]),
    }
    if near["count"] and away["count"]:
        figures["near_p99_ms"] = near["p99"] / 1e3
        figures["away_p99_ms"] = away["p99"] / 1e3
        figures["near_to_away"] = near["p99"] / away["p99"]
    return figures


def answers_wrong(result: Mapping[str, Any]) -> list[str]:
    """Return one line per kind of wrong or missing answer."""
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


def count_wrong(running: ServerProcess, sent: int) -> list[str]:
    """Return one line per fault: another server than the title says, or a wrong count."""
    wrong = []
    if not running.runs_as_titled():
        wrong.append(f"it does not run as `{running.server.title}`")
    if running.server.counts and (counted := running.count(sent)) != sent:
        wrong.append(f"counted {counted:,} of {sent:,} distinct ids")
    return wrong


def wait_for_window_time(window: int, seconds: float) -> None:
    """Wait until at least `seconds` of the current window are left."""
    left = window - time.time() % window
    if left < seconds:
        time.sleep(left + 0.1)
