"""The thread that each worker runs: it stands for the lease, and while it holds it, leads.

It needs no event loop, so it is the same under every server and in a program that uses the library.
The leader turns and publishes windows; the log and the ledger follow in threads of their own, since
either may have to wait.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from verve._verve import ClosedError, VerveError
from verve.ledger import ledger
from verve.ledger.lock_holder import HolderWatch
from verve.log import events
from verve.log.background import Notices
from verve.sinks import KAFKA, LOG, LogSink, kafka_sink

from .ledger_writer import (
    LEDGER_CURSOR,
    LOG_CURSOR,
    REMOVAL_CURSOR,
    Deliveries,
    Lease,
    LedgerWriter,
    LogQueue,
)
from .outbox import Outbox
from .sink_status import SinkStatusFile
from .sink_worker import DeliveryState, SinkWorker
from .window_source import ClusterSource, RingSource, WindowSource

if TYPE_CHECKING:
    from collections.abc import Callable

    from verve._verve import Counter
    from verve.cluster.coordinator.coordinator import Coordinator
    from verve.config import Settings

TICK = 0.05
POPULATE_EVERY = 0.1
IDLE = 1.0
STOP_SECONDS = 2.0
"""That a stop may take, the last log lines included."""
_FLUSH_SECONDS = 0.5
DRAIN_SECONDS = 2.0
"""How long a worker without a parent may take to finish its requests."""


@dataclass(frozen=True, slots=True)
class LeaderState:
    """How publishing does. Lags are in seconds and hold for the host; the rest for this process."""

    term: int | None
    ledger_lag: int
    ledger_attempts: int
    ledger_error: str | None
    log_lag: int
    sinks: tuple[DeliveryState, ...]


class Term:
    """The work of one term: a thread for the ledger, one for each sink, one for the cluster."""

    def __init__(self, counter: Counter, settings: Settings, term: int, notices: Notices) -> None:
        lease = Lease(counter, term)
        deliveries = Deliveries()
        holders = HolderWatch.of_this_process(ledger.path_of(settings))
        self.number = term
        self.coordinator: Coordinator | None = None
        self._notices = notices
        self._over = threading.Event()
        self._wakes: list[threading.Event] = []
        self._threads: list[threading.Thread] = []
        source: WindowSource = RingSource(counter, settings)
        if settings.redis_url is not None:
            source, self.coordinator = self._join_cluster(counter, settings, lease)
        self.ledger_writer = LedgerWriter(
            counter, source, settings, lease, deliveries, holders, notices
        )
        self.workers: list[SinkWorker] = []
        if LOG in settings.sinks:
            queue = LogQueue(counter, source, lease, deliveries)
            report = SinkStatusFile(settings, LOG)
            self.workers.append(SinkWorker(LogSink(), queue, notices, report))
        stored, logged = threading.Event(), threading.Event()
        if KAFKA in settings.sinks:
            self._carry_to_kafka(settings, lease, wake=stored)
        self._work(
            "verve-ledger",
            self.ledger_writer.step,
            self.ledger_writer.close,
            wake=logged,
            then=stored,
        )
        for worker in self.workers:
            if worker.sink.name == LOG:
                self._work("verve-sink-log", worker.step, worker.sink.close, then=logged)
        if self.coordinator is not None:
            self._start("verve-cluster", self.coordinator.run)

    def wake(self) -> None:
        """There is something new in the ring."""
        for wake in self._wakes:
            wake.set()

    def end(self, deadline: float, *, leaves: bool = False) -> None:
        """End the threads; one that is stuck beyond `deadline` (monotonic) ends when it can.

        `leaves`: the service stops, so the other hosts of a cluster need not wait for this one.
        """
        self._over.set()
        if self.coordinator is not None:
            self.coordinator.stop(leaves=leaves)
        self.wake()
        for worker in self.workers:
            worker.sink.interrupt()
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _join_cluster(
        self, counter: Counter, settings: Settings, lease: Lease
    ) -> tuple[ClusterSource, Coordinator]:
        """What the hosts of the cluster counted together."""
        # Imported here, since most hosts count by themselves.
        from verve.cluster.coordinator.coordinator import Coordinator  # noqa: PLC0415
        from verve.stores import connect  # noqa: PLC0415

        source = ClusterSource(counter, settings, self.wake)
        return source, Coordinator(counter, settings, lease, source, self._notices, connect)

    def _carry_to_kafka(self, settings: Settings, lease: Lease, wake: threading.Event) -> None:
        """What the ledger holds goes to Kafka, as soon as the ledger has it."""
        outbox = Outbox(settings, lease, KAFKA)
        worker = SinkWorker(
            kafka_sink(settings), outbox, self._notices, SinkStatusFile(settings, KAFKA)
        )
        self.workers.append(worker)

        def close() -> None:
            worker.sink.close()
            outbox.close()

        self._work("verve-sink-kafka", worker.step, close, wake=wake)

    def _work(
        self,
        name: str,
        run: Callable[[], float | None],
        close: Callable[[], None],
        wake: threading.Event | None = None,
        then: threading.Event | None = None,
    ) -> None:
        """Run `run` in a thread, when `wake` is set or its pause is over; it sets `then`."""
        wake = threading.Event() if wake is None else wake

        def body() -> None:
            told: str | None = None
            while not self._over.is_set():
                wake.clear()
                try:
                    pause = run()
                    told = None
                except ClosedError:
                    break
                except Exception as error:  # noqa: BLE001 - the thread must outlive any surprise
                    if repr(error) != told:
                        told = repr(error)
                        self._notices.put(events.LEADER_STUMBLED, error=told)
                    pause = IDLE
                if then is not None:
                    then.set()
                wake.wait(IDLE if pause is None else pause)
            close()

        self._wakes.append(wake)
        self._start(name, body)

    def _start(self, name: str, body: Callable[[], None]) -> None:
        thread = threading.Thread(target=body, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)


class Leader:
    """Stands for the lease of a segment from `start` to `stop`."""

    def __init__(self, counter: Counter, settings: Settings) -> None:
        self._counter = counter
        self._settings = settings
        self._notices = Notices()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._term: Term | None = None
        self._published = 0
        self._populated = 0.0
        self._looked = 0.0
        self._stumbled = False
        self._parent = multiprocessing.parent_process()

    def start(self) -> None:
        """Start the thread."""
        thread = threading.Thread(target=self._run, name="verve-leader", daemon=True)
        thread.start()
        self._thread = thread  # one that could not be started cannot be joined

    def stop(self) -> None:
        """End the threads and give the lease back, in `STOP_SECONDS` at the most."""
        deadline = time.monotonic() + STOP_SECONDS - _FLUSH_SECONDS
        self._stop.set()
        if self._thread is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))
            self._thread = None
        if self._term is not None:
            self._term.end(deadline, leaves=True)
            self._term = None
        with contextlib.suppress(VerveError):
            self._counter.resign()
        self._notices.flush(_FLUSH_SECONDS)

    def state(self) -> LeaderState:
        """How publishing does; the lags come from the segment, so any worker can tell them."""
        term = self._term
        return LeaderState(
            term=None if term is None else term.number,
            ledger_lag=self._lag(LEDGER_CURSOR),
            ledger_attempts=0 if term is None else term.ledger_writer.attempts,
            ledger_error=None if term is None else term.ledger_writer.error,
            log_lag=self._lag(LOG_CURSOR) if LOG in self._settings.sinks else 0,
            sinks=() if term is None else tuple(worker.state for worker in term.workers),
        )

    def _lag(self, cursor: int) -> int:
        """Seconds of windows that are published and not taken."""
        taken, published = self._counter.cursor(cursor), self._counter.published()
        if taken == 0 and published != 0:
            return len(self._counter.closed()) * self._counter.window
        return max(0, published - taken)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._tick()
                pause = min(TICK, self._counter.until_boundary())
                self._stumbled = False
            except ClosedError:
                return
            except Exception as error:  # noqa: BLE001 - a host without a leader publishes nothing
                pause = TICK
                if not self._stumbled:
                    known = isinstance(error, VerveError)
                    self._notices.put(events.LEADER_STUMBLED, error=error if known else repr(error))
                self._stumbled = True
            if self._is_orphan():
                self._leave()
                return
            # A hair more, so that the boundary has passed when the thread is awake again.
            self._stop.wait(max(pause, 0.0) + 0.0005)

    def _tick(self) -> None:
        term = self._counter.lead()
        if term != (None if self._term is None else self._term.number):
            self._change(term)
        now = time.monotonic()
        try:
            if self._term is not None:
                self._counter.tend()
        finally:
            if self._term is not None and self._counter.published() != self._published:
                self._published = self._counter.published()
                self._term.wake()
        if term is not None and now - self._looked >= IDLE:
            self._looked = now
            self._tell_of_removal(term)
        if now - self._populated >= POPULATE_EVERY:
            self._populated = now
            self._counter.populate()

    def _change(self, term: int | None) -> None:
        if self._term is not None:
            self._notices.put(events.LEADER_DEPOSED, term=self._term.number)
            # Its threads find out by themselves; this one has to go on.
            self._term.end(time.monotonic())
        self._term = None
        if term is not None:
            self._notices.put(events.LEADER_STARTED, term=term)
            self._announce_kafka()
            self._term = Term(self._counter, self._settings, term, self._notices)

    def _tell_of_removal(self, term: int) -> None:
        """Say once on the host that the file of the segment is gone."""
        counter = self._counter
        if counter.in_place() or counter.cursor(REMOVAL_CURSOR):
            return
        if counter.advance_cursor(REMOVAL_CURSOR, counter.current().window_start, term):
            self._notices.put(events.SEGMENT_REMOVED, path=self._settings.segment)

    def _announce_kafka(self) -> None:
        if KAFKA in self._settings.sinks:
            both = LOG in self._settings.sinks
            self._notices.put(
                events.KAFKA_CHOSEN,
                topic=self._settings.kafka_topic,
                brokers=self._settings.kafka_brokers or (),
                relation="beside" if both else "in the place of",
            )

    def _is_orphan(self) -> bool:
        """Whether the server that started this worker is gone, so that nobody would end it.

        A process that the user started himself may outlive his shell: only one that was forked or
        spawned by a server of Python processes is asked.
        """
        return self._parent is not None and os.getppid() != self._parent.pid

    def _leave(self) -> None:
        """End this process: requests in flight may finish, for less than two seconds."""

        def end() -> None:
            time.sleep(DRAIN_SECONDS - 0.2)
            os._exit(1)

        # Neither the server's own shutdown nor a log line may keep it from ending in time.
        threading.Thread(target=end, name="verve-exit", daemon=True).start()
        self._notices.put(events.WORKER_ORPHANED)
        os.kill(os.getpid(), signal.SIGTERM)
