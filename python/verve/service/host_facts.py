"""What the files of the host say: its segment's name, its ledger, its leader's status of others.

Readiness and metrics ask for them; anyone may ask for readiness. One thread reads the files, once
for all requests that come meanwhile. If they do not answer in time, the facts that were read last
are used, as stale.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from verve._verve import VerveError
from verve.ledger import ledger
from verve.log import losses
from verve.publishing import sink_status
from verve.publishing.sink_status import SinkStatus
from verve.request.exchange import in_time
from verve.status import archive_status, cluster_status
from verve.status.archive_status import ArchiveStatus
from verve.status.cluster_status import Membership

from .disk_threads import DiskThreads

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Future

    from verve._verve import Counter
    from verve.config import Settings

READING_SECONDS = 0.5
"""Time for which a request waits for the files."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the files said; until they were read, that all is well."""

    segment_in_place: bool = True
    sinks: Mapping[str, SinkStatus] = field(default_factory=dict)
    """The status of each sink."""
    cluster: Membership | None = None
    """None for a host that counts by itself."""
    archive: ArchiveStatus | None = None
    """None for a host without an archive."""
    dropped: Mapping[str, int] | None = None
    """Windows that the ledger dropped before a sink took them; None until it was read."""
    lost_lines: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(losses.OUTPUTS, 0))
    is_stale: bool = False


def segment_in_place(counter: Counter) -> bool:
    """Whether the file of the segment is still the one that this process counts in."""
    return counter.in_place()


def before_reading(settings: Settings) -> Facts:
    """The facts that hold before anything was read."""
    return Facts(
        sinks={sink: SinkStatus() for sink in settings.sinks},
        cluster=Membership() if settings.redis_url is not None else None,
        archive=ArchiveStatus() if settings.archive is not None else None,
    )


def read(settings: Settings, counter: Counter, known: Facts | None = None) -> Facts:
    """Read the files now, for as long as that takes."""
    # Zeros would look like a counter that began anew.
    dropped = None if known is None else known.dropped
    with contextlib.suppress(VerveError):
        found = ledger.dropped(ledger.path_of(settings))
        dropped = {sink: found.get(sink, 0) for sink in settings.sinks}
    return Facts(
        segment_in_place(counter),
        {sink: sink_status.of(settings, sink) for sink in settings.sinks},
        cluster_status.of(settings) if settings.redis_url is not None else None,
        archive_status.of(settings) if settings.archive is not None else None,
        dropped,
        losses.read(settings.state_dir),
    )


@dataclass(frozen=True, slots=True)
class _Reading:
    """One reading that is under way, and when it began, by the monotonic clock."""

    result: Future[Facts]
    began: float = field(default_factory=time.monotonic)


class HostFactsReader:
    """Reads the files of one host for the requests of a worker."""

    def __init__(self, settings: Settings, counter: Counter) -> None:
        self._settings = settings
        self._counter = counter
        self._threads = DiskThreads("verve-facts", most=1)
        self._lock = threading.Lock()
        self._reading: _Reading | None = None
        self._known: Facts | None = None

    async def facts(self) -> Facts:
        """What the files say now, or what they said last; takes at most `READING_SECONDS`."""
        try:
            reading = self._begin()
            left = reading.began + READING_SECONDS - time.monotonic()
            # Others wait for the same reading: a caller that gives up must not cancel it.
            result = asyncio.shield(asyncio.wrap_future(reading.result))
            return await in_time(result, max(0.0, left))
        except (RuntimeError, TimeoutError):
            return replace(self._known or before_reading(self._settings), is_stale=True)

    def _begin(self) -> _Reading:
        """The reading that is under way, or a new one."""
        with self._lock:
            if self._reading is None:
                self._reading = _Reading(self._threads.submit(self._read))
            return self._reading

    def _read(self) -> Facts:
        try:
            self._known = read(self._settings, self._counter, self._known)
            return self._known
        finally:
            with self._lock:
                self._reading = None
