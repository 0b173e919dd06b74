"""The start of a worker, from its configuration to a running service.

A worker that counts takes these steps: inspect the machine and the segment, migrate a segment of
other settings, open it, join the cluster, take part in leading, take callbacks.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from verve import config
from verve._verve import VerveError
from verve.config import limits
from verve.config.choices import Ack
from verve.log import event_log, events, stream_writer
from verve.publishing.leader import Leader
from verve.request.access import Access
from verve.request.body_budget import Bodies
from verve.service.callbacks import CallbackDesk
from verve.service.disk_threads import DiskThreads
from verve.service.drain import Drain, DrainReport
from verve.service.host_facts import HostFactsReader
from verve.service.listeners import Listeners
from verve.service.running import ClusterJoin, RunningService
from verve.service.streams import Streams

from .attachment import attach
from .configuration import read

if TYPE_CHECKING:
    from verve._verve import Counter
    from verve.config import Settings
    from verve.service.termination import Termination

    from .configuration import Configuration

_HISTORY_THREADS = 4


def open_counter(settings: Settings) -> Counter:
    """Inspect, migrate and open the segment, in a cluster by the time of Redis.

    Raises what `attach` raises, and `ClusterError` when the time of the cluster is not known.
    """
    if settings.redis_url is None:
        return attach(settings)
    # Imported here and below, since most hosts count by themselves.
    from .cluster_join import attach_to_cluster  # noqa: PLC0415

    return attach_to_cluster(settings)


def start(configuration: Configuration | None, termination: Termination) -> RunningService:
    """Start the service of this process; without a configuration it reads its own.

    What it has started when a step fails is stopped again. Raises `VerveError` and `OSError`, and
    `RuntimeError` where the host denies a thread.
    """
    cluster_join = ClusterJoin()
    configuration = configuration or read()
    settings = configuration.settings
    if config.SUPERVISOR in os.environ:
        stream_writer.take_over()
    event_log.configure(settings)
    access = Access.of(settings)

    with contextlib.ExitStack() as started:
        counter = started.enter_context(open_counter(settings))
        termination.at_drain(lambda: _show_draining(counter))

        drain = Drain(counter)
        bodies = Bodies(settings.max_body)
        report = DrainReport(counter, drain, termination, bodies)
        listeners = Listeners(counter)

        def watch(*, leads: bool) -> None:
            report.step(leads=leads)
            listeners.report()

        leader = Leader(counter, settings, watch=watch)
        started.callback(leader.stop)

        id_sender = None
        if settings.redis_url is not None:
            from .cluster_join import join  # noqa: PLC0415

            id_sender = join(counter, settings)
            # Before the leader, which says whether all ids of this host are in Redis.
            started.callback(id_sender.stop)
            id_sender.start()
        confirmer = report.confirmer = id_sender if settings.ack is Ack.STORE else None

        leader.start()

        desk = None
        if configuration.callback_options is not None:
            desk = CallbackDesk(counter, settings, configuration.callback_options)
            started.callback(desk.stop)

        streams = Streams(limits.max_streams(settings.max_connections), settings.stream_seconds)
        # Also before a successor takes the place of this worker, where readers connect again.
        termination.at_retirement(streams.end)
        started.callback(streams.end)

        report.at_begin = streams.end_open
        # Stops first: an operator waits for the workers that serve.
        started.callback(drain.leave)
        drain.announce()
        events.ACCESS_RULE.emit(rule=access.rule.value)
        return RunningService(
            settings=settings,
            counter=counter,
            leader=leader,
            callback_sender=None if desk is None else desk.sender,
            confirmer=confirmer,
            access=access,
            bodies=bodies,
            host_facts=HostFactsReader(settings, counter),
            history=DiskThreads("verve-history", most=_HISTORY_THREADS),
            streams=streams,
            cluster_join=cluster_join,
            termination=termination,
            drain=drain,
            listeners=listeners,
            close=started.pop_all().close,
        )


def _show_draining(counter: Counter) -> None:
    with contextlib.suppress(VerveError):
        counter.worker_figures.set("draining", 1)
