"""The machine: what it is, its cores, and whether somebody else was using them."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

TICK = 1 / os.sysconf("SC_CLK_TCK")
_IDLE = (3, 4)
"""Columns of /proc/stat that are no work: idle and waiting for a disk."""


class MachineError(RuntimeError):
    """This machine cannot run the benchmarks."""


def cores() -> tuple[int, int]:
    """The core of the servers and that of the load generator."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2 or shutil.which("taskset") is None:
        raise MachineError(
            "the benchmarks need two cores and taskset, one core for the server and one for the "
            f"load; hint: taskset is in util-linux; cores that may be used: `{usable}`"
        )
    return usable[0], usable[1]


def pinned(cores: Sequence[int], command: list[str]) -> list[str]:
    """A command that runs on these cores and no others."""
    return ["taskset", "-c", ",".join(map(str, cores)), *command]


def group_cpu(group: int) -> float:
    """CPU seconds of all processes of a process group so far, ended children included."""
    ticks = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        # Fields 5 and 14 to 17 of proc(5); the first two are before the parenthesis.
        if int(fields[2]) == group:
            ticks += sum(map(int, fields[11:15]))
    return ticks * TICK


@dataclass(frozen=True)
class Busy:
    """When, and how many seconds a core had worked by then."""

    time: float
    seconds: float

    @classmethod
    def of(cls, core: int) -> Self:
        """The state of a core now."""
        for line in Path("/proc/stat").read_text().splitlines():
            name, *columns = line.split()
            if name == f"cpu{core}":
                # Guest time, from the ninth column on, is part of the first two.
                ticks = sum(int(c) for i, c in enumerate(columns[:8]) if i not in _IDLE)
                return cls(time.monotonic(), ticks * TICK)
        raise MachineError(f"the kernel does not know the core: `{core}`")

    def foreign_share(self, core: int, own: float) -> float:
        """Share of the time since `self` in which others had the core; `own` seconds were ours."""
        now = Busy.of(core)
        return max(0.0, (now.seconds - self.seconds - own) / (now.time - self.time))


def description() -> dict[str, str]:
    """What a reader must know about the machine, by name."""
    return {
        "cpu": _cpu(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "huge pages": _first_line("/sys/kernel/mm/transparent_hugepage/enabled"),
        "python": platform.python_version(),
        "rust": _output("rustc", "--version"),
        "go": _output("go", "version"),
        **{name: _version(name) for name in ("granian", "uvloop", "uvicorn", "fastapi")},
        "verve": _version("verve-counter"),
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _first_line(path: str) -> str:
    try:
        return Path(path).read_text().splitlines()[0]
    except (OSError, IndexError):
        return "unknown"


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "not installed"
    return done.stdout.strip()


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"
