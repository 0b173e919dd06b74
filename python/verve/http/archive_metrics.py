"""The metrics of the archive; a host without an archive has no samples of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .metric import Kind, Metric

if TYPE_CHECKING:
    from collections.abc import Callable

    from verve.status.archive_status import ArchiveStatus

    from .metric import Sample, Value

_COUNTER, _GAUGE = Kind.COUNTER, Kind.GAUGE


def _archive(read: Callable[[ArchiveStatus], Value]) -> Callable[[Sample], Value]:
    """Return a reader of a figure of the leader's last status file."""

    def find(sample: Sample) -> Value:
        return None if sample.facts.archive is None else read(sample.facts.archive)

    return find


def _lag(sample: Sample) -> Value:
    found = sample.facts.archive
    if found is None:
        return None
    counter = sample.counter
    newest = counter.ring.newest()
    return max(0, newest + counter.window - found.waiting_since) if found.waiting_since else 0


def _spool_max(sample: Sample) -> Value:
    return None if sample.facts.archive is None else sample.service.settings.archive_spool_max


ARCHIVE_METRICS = (
    Metric(
        "verve_archive_windows_total",
        _COUNTER,
        "Closed windows, by what became of their ids.",
        _archive(lambda found: found.by_state()),
        ("state",),
    ),
    Metric(
        "verve_archive_lag_seconds",
        _GAUGE,
        "Seconds of sealed windows since the oldest one that is not in the archive.",
        _lag,
    ),
    Metric(
        "verve_archive_waiting_windows",
        _GAUGE,
        "Windows on the local disk that wait to be archived.",
        _archive(lambda found: found.waiting),
    ),
    Metric(
        "verve_archive_spool_bytes",
        _GAUGE,
        "Disk space that they use, with the files that were set aside.",
        _archive(lambda found: found.spool_bytes),
    ),
    Metric(
        "verve_archive_spool_max_bytes",
        _GAUGE,
        "Maximum disk space for windows that wait to be archived.",
        _spool_max,
    ),
    Metric(
        "verve_archive_failed_attempts",
        _GAUGE,
        "Failed attempts in a row to archive windows; 0 after a success.",
        _archive(lambda found: found.attempts),
    ),
    Metric(
        "verve_archive_spool_failing",
        _GAUGE,
        "1 while the local disk takes no windows for the archive, else 0.",
        _archive(lambda found: found.spool_error is not None),
    ),
    Metric(
        "verve_archive_writer_starts_total",
        _COUNTER,
        "Starts of the process that writes the archive.",
        _archive(lambda found: found.writer_starts),
    ),
    Metric(
        "verve_archive_upkeep_timestamp_seconds",
        _GAUGE,
        "When all roll-ups and deletions that were due had last been done, in Unix time.",
        _archive(lambda found: found.kept_up or None),
    ),
)
