"""A running service without a start: tests give it a counter, and no thread leads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verve.publishing.leader import Leader
from verve.request.access import Access
from verve.request.body_budget import Bodies
from verve.service.disk_threads import DiskThreads
from verve.service.drain import Drain
from verve.service.host_facts import HostFactsReader
from verve.service.listeners import Listeners
from verve.service.running import ClusterJoin, RunningService
from verve.service.streams import Streams
from verve.service.termination import Termination

if TYPE_CHECKING:
    from verve import Counter
    from verve.config import Settings


def running_service(settings: Settings, counter: Counter) -> RunningService:
    """The service of a worker that counts with `counter`."""
    return RunningService(
        settings=settings,
        counter=counter,
        leader=Leader(counter, settings),
        callback_sender=None,
        confirmer=None,
        access=Access.of(settings),
        bodies=Bodies(settings.max_body),
        host_facts=HostFactsReader(settings, counter),
        history=DiskThreads("test-history", most=1),
        streams=Streams(settings.max_connections // 4, settings.stream_seconds),
        cluster_join=ClusterJoin(),
        termination=Termination(),
        drain=Drain(counter, start=1),
        listeners=Listeners(counter),
        close=lambda: None,
    )
