"""The metrics of single processes, by the process id of the worker.

The figures of the operating system are those of every process that shares the segment. Those of
the native listener are kept by its own thread, so only the worker that answers has them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .metric import Kind, Metric

if TYPE_CHECKING:
    from collections.abc import Callable

    from .metric import Sample, Value
    from .proc import Process

_COUNTER, _GAUGE = Kind.COUNTER, Kind.GAUGE
_WORKER = "process id of the worker"
_CONNECTIONS, _ACCEPT_LANE, _HYPER_LANE, _OTHER = range(4)


def _processes(read: Callable[[Process], float | None]) -> Callable[[Sample], Value]:
    """Return a reader of a figure of each process."""

    def find(sample: Sample) -> Value:
        figures = {str(id): read(process) for id, process in sample.processes.items()}
        return {id: figure for id, figure in figures.items() if figure is not None}

    return find


def _listener(place: int) -> Callable[[Sample], Value]:
    """Return a reader of a figure of this worker's listeners."""

    def find(sample: Sample) -> Value:
        number = _sum(sample, place)
        return None if number is None else {str(os.getpid()): number}

    return find


def _accepts(sample: Sample) -> Value:
    lanes = {"accept": _ACCEPT_LANE, "hyper": _HYPER_LANE}
    numbers = {lane: _sum(sample, place) for lane, place in lanes.items()}
    worker = str(os.getpid())
    found: dict[tuple[str, ...], float] = {
        (worker, lane): number for lane, number in numbers.items() if number is not None
    }
    return found


def _sum(sample: Sample, place: int) -> int | None:
    """Return a figure over this worker's addresses; None without a native listener."""
    found = [listener.figures()[place] for listener in sample.service.listeners]
    return sum(found) if found else None


PROCESS_METRICS = (
    Metric(
        "verve_process_cpu_seconds_total",
        _COUNTER,
        "CPU time of a process, in user and system mode.",
        _processes(lambda process: process.cpu_seconds),
        ("worker",),
        _WORKER,
    ),
    Metric(
        "verve_process_resident_memory_bytes",
        _GAUGE,
        "Memory of a process in RAM; the segment counts in each process that uses it.",
        _processes(lambda process: process.resident_bytes),
        ("worker",),
        _WORKER,
    ),
    Metric(
        "verve_process_open_fds",
        _GAUGE,
        "Open file descriptors of a process.",
        _processes(lambda process: process.open_descriptors),
        ("worker",),
        _WORKER,
    ),
    Metric(
        "verve_process_start_time_seconds",
        _GAUGE,
        "Start of a process, in Unix time.",
        _processes(lambda process: process.started),
        ("worker",),
        _WORKER,
    ),
    Metric(
        "verve_listener_connections",
        _GAUGE,
        "Open connections of the native listener of the worker that answers.",
        _listener(_CONNECTIONS),
        ("worker",),
        _WORKER,
    ),
    Metric(
        "verve_listener_accepts_total",
        _COUNTER,
        "Accepts that the native listener of the worker that answers has answered, by lane.",
        _accepts,
        ("worker", "lane"),
        f"`worker`: {_WORKER}; `lane`: `accept`, `hyper`",
    ),
    Metric(
        "verve_listener_other_requests_total",
        _COUNTER,
        "Requests that the native listener of the worker that answers gave to the application.",
        _listener(_OTHER),
        ("worker",),
        _WORKER,
    ),
)
