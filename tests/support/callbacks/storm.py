"""Runs the storm, a program that sends accepts with an endpoint and is that endpoint itself.

The program checks each callback; see `rust/callbacks/examples/storm.rs`.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.service import Service

Report = dict[str, Any]


class StormError(AssertionError):
    """The storm failed; the message contains its output."""


class Storm:
    """One run of the storm, from construction to `wait`."""

    def __init__(self, service: Service, rate: int, seconds: float, *arguments: str) -> None:
        command: list[str | Path] = [
            _binary(),
            f"127.0.0.1:{service.port}",
            str(rate),
            str(seconds),
            *arguments,
        ]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def wait(self, timeout: float) -> Report:
        """Wait until the run is over, and return its report."""
        try:
            output, complaints = self._process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.close()
            raise StormError(f"the storm did not end within {timeout} s") from None
        if self._process.returncode != 0:
            raise StormError(f"the storm failed: {complaints.decode()}{output.decode()}")
        report: Mapping[str, Any] = json.loads(output)
        return dict(report)

    def close(self) -> None:
        """Kill the storm if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


def _binary() -> Path:
    """The program that `VERVE_STORM` names, else the one that cargo builds."""
    if named := os.environ.get("VERVE_STORM"):
        return Path(named)
    what = ["--package", "verve-callbacks", "--example", "storm"]
    command = ["cargo", "build", "--release", *what, "--message-format", "json"]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    for line in built.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == "storm":
            return Path(message["executable"])
    raise StormError(f"cargo could not build the storm:\n{built.stderr.decode()}")
