"""A table by itself, without a server."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from bench.harness import build, machine
from bench.harness.machine import children_cpu
from bench.harness.sample import Sample


@dataclass(frozen=True)
class Table:
    """A table by itself. `bench/table/src/main.rs` describes the operations."""

    name: str
    title: str
    operation: str
    threads: int = 1
    distinct: int = 5_000_000
    rounds: int | None = None

    def prepare(self) -> None:
        """Build the program of the table."""
        self._program()

    def measure(self) -> Sample:
        """Run the program once."""
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
        if "per_second" in figures:
            figures["ns"] = self.threads * 1e9 / figures["per_second"]
        return Sample(figures, problems, disturbed, result)

    def _program(self) -> list[str]:
        table = "bare" if self.name == "verve-bare" else self.name.partition("-")[0]
        if table == "go":
            return [str(build.go_program(build.BENCH / "table" / "go"))]
        if table == "python":
            build.python_module("numpy")
            return [sys.executable, str(build.BENCH / "table" / "python_set.py")]
        return [str(build.program(build.TABLE)), table]
