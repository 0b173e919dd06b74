"""What the files of the host say: its segment's name, its ledger, what its leader told of others.

Readiness and metrics ask for them, readiness on behalf of everyone. One thread looks, once for all
who ask meanwhile. When the files do not answer in time, what they said last is served, as stale.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from verve._verve import VerveError
from verve.ledger import ledger
from verve.log import losses
from verve.publishing import sink_status
from verve.publishing.sink_status import Standing
from verve.request.exchange import in_time
from verve.status import cluster_status
from verve.status.cluster_status import Membership

from .disk_threads import DiskThreads

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Future

    from verve.config import Settings

PATIENCE_SECONDS = 0.5
"""That whoever asks waits for the files to answer."""


class Host(Protocol):
    """Whose files they are."""

    settings: Settings | None

    def segment_in_place(self) -> bool:
        """Whether the segment's file is still the one that is counted in."""
        ...


@dataclass(frozen=True, slots=True)
class Facts:
    """What the files said; before they said anything, that all is well."""

    segment_in_place: bool = True
    sinks: Mapping[str, Standing] = field(default_factory=dict)
    """How each sink does."""
    cluster: Membership | None = None
    """None for a host that counts by itself."""
    dropped: Mapping[str, int] | None = None
    """Windows that the ledger dropped before a sink took them; None before it could be read."""
    lost_lines: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(losses.OUTPUTS, 0))
    is_stale: bool = False


def before(host: Host) -> Facts:
    """What holds before anything was read."""
    settings = host.settings
    if settings is None:
        return Facts()
    return Facts(
        sinks={sink: Standing() for sink in settings.sinks},
        cluster=Membership() if settings.redis_url is not None else None,
    )


def read(host: Host, known: Facts | None = None) -> Facts:
    """Look into the files now, for as long as that takes."""
    settings = host.settings
    if settings is None:
        return Facts(segment_in_place=host.segment_in_place())
    # Zeros would look like a counter that began anew.
    dropped = None if known is None else known.dropped
    with contextlib.suppress(VerveError):
        found = ledger.dropped(ledger.path_of(settings))
        dropped = {sink: found.get(sink, 0) for sink in settings.sinks}
    return Facts(
        host.segment_in_place(),
        {sink: sink_status.of(settings, sink) for sink in settings.sinks},
        cluster_status.of(settings) if settings.redis_url is not None else None,
        dropped,
        losses.read(settings.state_dir),
    )


@dataclass(frozen=True, slots=True)
class _Look:
    """One look that is under way, and when it began, by the monotonic clock."""

    result: Future[Facts]
    began: float = field(default_factory=time.monotonic)


class Watch:
    """Looks into the files of one worker's host."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._threads = DiskThreads("verve-facts", most=1)
        self._lock = threading.Lock()
        self._look: _Look | None = None
        self._known: Facts | None = None

    async def facts(self) -> Facts:
        """What the files say now, or what they said last; takes `PATIENCE_SECONDS` at the most."""
        try:
            look = self._begin()
            left = look.began + PATIENCE_SECONDS - time.monotonic()
            return await in_time(asyncio.wrap_future(look.result), max(0.0, left))
        except (RuntimeError, TimeoutError):
            return replace(self._known or before(self._host), is_stale=True)

    def _begin(self) -> _Look:
        """The look that is under way, or a new one."""
        with self._lock:
            if self._look is None:
                self._look = _Look(self._threads.submit(self._read))
            return self._look

    def _read(self) -> Facts:
        try:
            self._known = read(self._host, self._known)
            return self._known
        finally:
            with self._lock:
                self._look = None
