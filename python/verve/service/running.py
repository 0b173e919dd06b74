"""The running service of a worker: what its start has made, and its requests use."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from verve._verve import Callbacks as CallbackSender
    from verve._verve import Counter, Http
    from verve.cluster.replication.sender import IdSender
    from verve.config import Settings
    from verve.publishing.leader import Leader
    from verve.request.access import Access
    from verve.request.body_budget import Bodies

    from .disk_threads import DiskThreads
    from .drain import Drain
    from .host_facts import HostFactsReader
    from .listeners import Listeners
    from .streams import Streams
    from .termination import Termination

JOIN_SECONDS = 15.0
"""A worker that starts is not ready for at most this long while its host joins the cluster."""


class ClusterJoin:
    """Whether readiness still waits for the host to join its cluster, after the worker started."""

    def __init__(self, seconds: float = JOIN_SECONDS) -> None:
        self._deadline = time.monotonic() + seconds
        self._is_over = False

    @property
    def is_awaited(self) -> bool:
        """Whether the worker is to get no requests yet."""
        return not self._is_over and time.monotonic() < self._deadline

    def end(self) -> None:
        """Await it no more: the host has joined, or Redis is away."""
        self._is_over = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningService:
    """What the requests of a worker use, from the end of its start to its stop.

    Granian's threads, on a Python without the GIL, share one.
    """

    settings: Settings
    counter: Counter
    leader: Leader
    callback_sender: CallbackSender | None
    """None where callbacks are off."""
    confirmer: IdSender | None
    """Confirms the ids of an accept before it is answered; None without `VERVE_ACK=store`."""
    access: Access
    bodies: Bodies
    host_facts: HostFactsReader
    history: DiskThreads
    """Threads that read the history from the ledger."""
    streams: Streams
    cluster_join: ClusterJoin
    termination: Termination
    drain: Drain
    close: Callable[[], None]
    """Stops what the start has started, in the reverse order."""
    listeners: Listeners
    """The native listeners of this worker, which start once the service runs."""

    @property
    def accepter(self) -> Http | CallbackSender:
        """What answers single accepts: the sender of callbacks, or the counter alone."""
        return self.callback_sender or self.counter.http

    def draining(self) -> bool:
        """Whether this worker ends or its service drains, so that it is to get no more requests.

        Raises `VerveError` if the segment cannot be used.
        """
        return self.termination.draining or self.drain.is_on()
