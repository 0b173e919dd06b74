"""What the kernel says of processes: CPU time, memory, descriptors and start (Linux only)."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_PROC = Path("/proc")
# Places in `/proc/<id>/stat` behind the name, which may contain spaces and parentheses.
_USER, _SYSTEM, _START, _PAGES = 11, 12, 19, 21


@dataclass(frozen=True, slots=True)
class Process:
    """The figures of one process.

    - `cpu_seconds`: CPU time of all its threads, in user and system mode.
    - `resident_bytes`: memory that it has in RAM; pages that processes share count in each.
    - `started`: time of its start, in seconds since the epoch.
    - `open_descriptors`: number of its open descriptors; None if the kernel does not say it.
    """

    cpu_seconds: float
    resident_bytes: int
    started: float
    open_descriptors: int | None


def read(processes: Iterable[int]) -> Mapping[int, Process]:
    """The figures by the id of the process, without those of which the kernel says nothing."""
    found: dict[int, Process] = {}
    # A process may end meanwhile, or belong to another user; other systems have no `/proc`.
    with contextlib.suppress(OSError, ValueError, IndexError):
        booted = _booted()
        for process in processes:
            with contextlib.suppress(OSError, ValueError, IndexError):
                found[process] = _read(process, booted)
    return found


def _booted() -> int:
    """The time of the boot, in seconds since the epoch."""
    lines = (_PROC / "stat").read_text(encoding="ascii").splitlines()
    (line,) = (line for line in lines if line.startswith("btime "))
    return int(line.split()[1])


def _read(process: int, booted: int) -> Process:
    directory = _PROC / str(process)
    fields = (directory / "stat").read_bytes().rpartition(b")")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    descriptors = None
    with contextlib.suppress(OSError):
        descriptors = sum(1 for _ in (directory / "fd").iterdir())
    return Process(
        (int(fields[_USER]) + int(fields[_SYSTEM])) / ticks,
        int(fields[_PAGES]) * os.sysconf("SC_PAGE_SIZE"),
        booted + int(fields[_START]) / ticks,
        descriptors,
    )
