"""The machine: its cores, the CPU time and memory of processes, and other load on the cores."""

from __future__ import annotations

import os
import resource
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TICK = 1 / os.sysconf("SC_CLK_TCK")
_IDLE = (3, 4)
"""Columns of /proc/stat that are not work: idle time and time that waits for a disk."""


class MachineError(RuntimeError):
    """This machine cannot run the benchmarks."""


def cores() -> tuple[int, int]:
    """Return the core of the servers and the core of the load generator."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2 or shutil.which("taskset") is None:
        raise MachineError(
            "the benchmarks need two cores and taskset, one core for the server and one for the "
            f"load; hint: taskset is in util-linux; cores that may be used: `{usable}`"
        )
    return usable[0], usable[1]


def allow_open_files() -> None:
    """Raise the limit of open files as far as the system allows, for all programs started later."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def pinned(cores: Sequence[int], command: list[str]) -> list[str]:
    """Return the command that runs `command` on these cores only."""
    return ["taskset", "-c", ",".join(map(str, cores)), *command]


def group_cpu(group: int) -> float:
    """Return the CPU seconds of a process group so far, ended children included."""
    # Fields 14 to 17 of proc(5).
    return sum(sum(map(int, fields[11:15])) for _, fields in _group(group)) * TICK


def group_cpu_exact(group: int) -> float:
    """Return the same with the kernel's nanoseconds, but of the present threads only."""
    nanoseconds = 0
    for entry, _ in _group(group):
        for thread in entry.glob("task/*/schedstat"):
            with suppress(OSError):
                nanoseconds += int(thread.read_text().split()[0])
    return nanoseconds / 1e9


def children_cpu() -> float:
    """Return the CPU seconds of all child processes that have ended so far."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def group_memory(group: int) -> int:
    """Return the resident bytes of a process group; shared pages count once."""
    kilobytes = 0
    for entry, _ in _group(group):
        with suppress(OSError):
            for line in (entry / "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    kilobytes += int(line.split()[1])
    return kilobytes * 1024


def _group(group: int) -> Iterator[tuple[Path, list[str]]]:
    """Yield the processes of a group, with their fields of proc(5) from the third on."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[2]) == group:
            yield entry, fields


@dataclass(frozen=True)
class Watch:
    """The CPU seconds that some cores had worked by a certain time."""

    cores: Sequence[int]
    time: float
    seconds: float

    @classmethod
    def of(cls, cores: Sequence[int]) -> Self:
        """Return the state of these cores now."""
        names = {f"cpu{core}" for core in cores}
        ticks = 0
        for line in Path("/proc/stat").read_text().splitlines():
            name, *columns = line.split()
            if name in names:
                # Guest time, from the ninth column on, is part of the first two.
                ticks += sum(int(c) for i, c in enumerate(columns[:8]) if i not in _IDLE)
        return cls(cores, time.monotonic(), ticks * TICK)

    def foreign_share(self, own: float) -> float:
        """Return the cores that other programs used on average since then.

        `own` is the CPU time of the measured programs, in seconds.
        """
        now = Watch.of(self.cores)
        # Both counters of a core may be off by one tick.
        foreign = now.seconds - self.seconds - own - 2 * TICK * len(self.cores)
        return max(0.0, foreign / (now.time - self.time))
