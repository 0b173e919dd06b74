"""The work of one term of a leader: a task for the ledger, one per sink, one for the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verve.clock import CLOCK, Clock
from verve.ledger import ledger
from verve.ledger.lock_holder import HolderWatch
from verve.sinks import LOG
from verve.windows.release import ArenaRelease, Keeper

from .lease import Lease
from .ledger_writer import LedgerWriter
from .log_queue import LogQueue
from .outbox import Outbox
from .ports import PORTS, Ports
from .sink_status import SinkStatusFile
from .sink_worker import SinkWorker
from .task import Task
from .window_source import ClusterSource, RingSource, WindowSource

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from verve._verve import Counter
    from verve.cluster.cluster_window import ClusterNote
    from verve.cluster.coordinator.coordinator import Coordinator
    from verve.config import Settings

    from .sink_worker import DeliveryQueue


class Term:
    """The tasks of one term, from its construction to `end`."""

    def __init__(
        self,
        counter: Counter,
        settings: Settings,
        number: int,
        *,
        clock: Clock = CLOCK,
        ports: Ports = PORTS,
    ) -> None:
        """Start the tasks of term `number`."""
        lease = Lease(counter, number)
        self.number = number
        self.coordinator: Coordinator | None = None
        self.workers: list[SinkWorker] = []
        self._settings = settings
        self._clock = clock
        self._ports = ports
        self._tasks: list[Task] = []
        # Only the leader frees kept arenas, so only its term decides whether they are kept.
        if settings.archive is not None:
            counter.retention.enable()
        elif settings.redis_url is None:
            # A segment of a host that has left its cluster, or had an archive.
            counter.retention.disable()
        self._release = ArenaRelease(counter, _keepers(settings))
        self._note_for_archive: Callable[[ClusterNote], None] | None = None
        self._start_archive(counter, lease)
        source: WindowSource = RingSource(counter, settings)
        if settings.redis_url is not None:
            source = ClusterSource(counter, settings, self.wake)
            self.coordinator = ports.coordinate(counter, settings, lease, source)
            self.coordinator.release = self._release
            self.coordinator.archive = self._note_for_archive
        log = LogQueue(counter, source, lease, clock=clock) if LOG in settings.sinks else None
        holders = HolderWatch.of_this_process(ledger.path_of(settings), clock=clock)
        self.ledger_writer = LedgerWriter(
            counter, source, settings, lease, log, holders, clock=clock
        )
        outboxes = [
            self._start_sink(name, Outbox(settings, lease, name, clock))
            for name in settings.sinks
            if name != LOG
        ]
        writer = self.ledger_writer
        stored = self._add(Task("verve-ledger", writer.step, writer.close, then=outboxes))
        if log is not None:
            self._start_sink(LOG, log, then=[stored])
        if self.coordinator is not None:
            self._add(Task("verve-cluster", self.coordinator.run))

    def wake(self) -> None:
        """Take the next step of each task now: there are new windows."""
        for task in self._tasks:
            task.wake()

    def end(self, deadline: float, *, leaves: bool = False) -> None:
        """End the tasks. One that is stuck at `deadline` (monotonic seconds) ends when it can.

        `leaves`: the service stops, so the other hosts of a cluster need not wait for this one.
        """
        if self.coordinator is not None:
            self.coordinator.stop(leaves=leaves)
        for task in self._tasks:
            task.stop()
        for worker in self.workers:
            worker.sink.interrupt()
        for task in self._tasks:
            task.join(max(0.0, deadline - self._clock.monotonic()))

    def _start_archive(self, counter: Counter, lease: Lease) -> None:
        if self._settings.archive is None:
            return
        # Imported here, since most hosts have no archive.
        from verve.archive.leader.archivist import Archivist  # noqa: PLC0415

        archivist = Archivist(
            counter, self._settings, self._release, lease.holds, clock=self._clock
        )
        self._note_for_archive = archivist.note
        self._add(Task("verve-archive", archivist.step, archivist.close))
        # Of its own: it frees arenas while the other hangs in a write.
        self._add(Task("verve-archive-guard", archivist.guard))

    def _start_sink(self, name: str, queue: DeliveryQueue, then: Sequence[Task] = ()) -> Task:
        report = SinkStatusFile(self._settings, name, self._clock)
        sink = self._ports.open_sink(self._settings, name)
        worker = SinkWorker(sink, queue, report, clock=self._clock)
        self.workers.append(worker)
        return self._add(Task(f"verve-sink-{name}", worker.step, worker.close, then=then))

    def _add(self, task: Task) -> Task:
        self._ports.start(task)
        self._tasks.append(task)
        return task


def _keepers(settings: Settings) -> set[Keeper]:
    """Who needs the ids of sealed windows."""
    found = set() if settings.redis_url is None else {Keeper.CLUSTER}
    return found if settings.archive is None else found | {Keeper.ARCHIVE}
