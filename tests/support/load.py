"""Runs the load generator `verve-load` against a service of a test.

    with Load(binary, service, out, "--ids", "uniform:1000") as load:
        ...
    result = load.stop()
    assert not result.faults
    assert result.records.placed()[1_795_387_070].size == 1000

It requests the verdict with every id, so that each answer names its window.
"""

from __future__ import annotations

import json
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from tests.support import caller, records
from tests.support.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping


class Target(Protocol):
    """What the generator has to know of a service."""

    port: int
    window: int


class LoadError(AssertionError):
    """The generator failed; the message contains its output."""


@dataclass(frozen=True, slots=True)
class Result:
    """The report of the generator, and its record of every id."""

    report: Mapping[str, Any]
    records: records.Records

    @property
    def faults(self) -> dict[str, int]:
        """The number of failed requests by error; a refusal is named by its status."""
        return {**self.report["errors"], **self.report["failed"]}


class Load:
    """One run of the generator, from construction to `stop` or `wait`."""

    def __init__(
        self, binary: Path, service: Target, out: Path, *arguments: str, port: int | None = None
    ) -> None:
        """`port` is the port of a proxy in front of the service."""
        self.out = out
        command: list[str | Path] = [
            binary,
            f"127.0.0.1:{port or service.port}",
            *("--window", str(service.window)),
            *("--out", out),
            "--verdict",
            "--quiet",
            *arguments,
        ]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def stop(self, timeout: float = 30) -> Result:
        """Stop sending, wait for the outstanding answers, and return the result."""
        self._process.send_signal(signal.SIGTERM)
        return self.wait(timeout)

    def wait(self, timeout: float = 60) -> Result:
        """Wait until the run is over, and return the result."""
        try:
            output, complaints = self._process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.close()
            raise LoadError(f"the load generator did not end within {timeout} s") from None
        if self._process.returncode != 0:
            raise LoadError(
                f"the load generator ended with {self._process.returncode}: "
                f"{complaints.decode()}{output.decode()}"
            )
        return Result(json.loads(output), records.load(self.out))

    def close(self) -> None:
        """Kill the generator if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


def find_binary() -> Path:
    """The generator that `VERVE_LOAD` names, else the one that cargo builds."""
    if caller.LOAD:
        return Path(caller.LOAD)
    command = ["cargo", "build", "--release", "--package", "verve-load", "--message-format", "json"]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    for line in built.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == "verve-load":
            return Path(message["executable"])
    raise LoadError(f"cargo could not build verve-load:\n{built.stderr.decode()}")
