"""The metrics of single processes, by the process id of the worker.

The figures of the operating system are those of every process that shares the segment. Those of
the native listeners are reported in the segment by each worker, about 20 times per second. An
accept itself adds to a figure in the memory of its process only.
"""

from __future__ import annotations

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


def _listeners(sample: Sample) -> dict[str, tuple[int, int, int, int]]:
    """The figures of the native listeners by worker; none if this worker has no such listener."""
    if not sample.service.listeners.exist:
        return {}
    return {str(id): figures for id, figures in sample.stats["listeners"].items()}


def _listener(place: int) -> Callable[[Sample], Value]:
    """Return a reader of a figure of each worker's native listeners."""
    return lambda sample: {id: figures[place] for id, figures in _listeners(sample).items()}


def _accepts(sample: Sample) -> Value:
    lanes = {"accept": _ACCEPT_LANE, "hyper": _HYPER_LANE}
    found: dict[tuple[str, ...], float] = {
        (id, lane): figures[place]
        for id, figures in _listeners(sample).items()
        for lane, place in lanes.items()
    }
    return found


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
        "Open connections of the native listeners of a worker.",
        _listener(_CONNECTIONS),
        ("worker",),
        _WORKER,
    ),
    Metric(
        "verve_listener_accepts_total",
        _COUNTER,
        "Accepts that the native listeners of a worker have answered, by lane.",
        _accepts,
        ("worker", "lane"),
        f"`worker`: {_WORKER}; `lane`: `accept`, `hyper`",
    ),
    Metric(
        "verve_listener_other_requests_total",
        _COUNTER,
        "Requests that the native listeners of a worker gave to the application.",
        _listener(_OTHER),
        ("worker",),
        _WORKER,
    ),
)
