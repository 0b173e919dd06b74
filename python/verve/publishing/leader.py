"""The leader: each worker stands for the lease, and the one that holds it leads the host.

It needs no event loop, so it is the same under every server and in a program that uses the library.
The leader maintains the segment; a term runs the tasks of ledger and sinks, which may have to wait.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from verve._verve import VerveError
from verve.clock import CLOCK, Clock
from verve.log import event_log, events
from verve.sinks import KAFKA, LOG

from .lease import Cursor
from .ports import PORTS, Ports
from .task import IDLE_SECONDS, Task
from .term import Term

if TYPE_CHECKING:
    from verve._verve import Counter
    from verve.config import Settings

    from .sink_worker import DeliveryState

TICK_SECONDS = 0.05
POPULATE_SECONDS = 0.1
STOP_SECONDS = 2.0
"""Seconds that a stop may take, with the last log lines."""
_FLUSH_SECONDS = 0.5
_AFTER_BOUNDARY_SECONDS = 0.0005
DRAIN_SECONDS = 2.0
"""Seconds that a worker without a parent has to finish its requests."""


class Watch(Protocol):
    """What a worker watches about 20 times per second."""

    def __call__(self, *, leads: bool) -> None:
        """`leads`: whether this worker is the leader."""


@dataclass(frozen=True, slots=True)
class LeaderState:
    """The state of publishing. Lags are in seconds, of the host; the rest is of this process."""

    term: int | None
    ledger_lag: int
    ledger_attempts: int
    ledger_error: str | None
    log_lag: int
    sinks: tuple[DeliveryState, ...]


class Leader:
    """Stands for the lease of a segment from `start` to `stop`."""

    def __init__(
        self,
        counter: Counter,
        settings: Settings,
        *,
        clock: Clock = CLOCK,
        ports: Ports = PORTS,
        watch: Watch | None = None,
    ) -> None:
        """`watch` is called at each step."""
        self._counter = counter
        self._settings = settings
        self._clock = clock
        self._ports = ports
        self._watch = watch
        self._task: Task | None = None
        self._term: Term | None = None
        self._published = 0
        self._populated = 0.0
        self._checked = 0.0
        self._parent = multiprocessing.parent_process()
        self._exits = False

    def start(self) -> None:
        """Start the task."""
        self._task = Task("verve-leader", self.step, retry=TICK_SECONDS)
        self._ports.start(self._task)

    def stop(self) -> None:
        """End all tasks and give the lease back, within `STOP_SECONDS`."""
        deadline = self._clock.monotonic() + STOP_SECONDS - _FLUSH_SECONDS
        if self._task is not None:
            self._task.stop()
            self._task.join(max(0.0, deadline - self._clock.monotonic()))
            self._task = None
        if self._term is not None:
            self._term.end(deadline, leaves=True)
            self._term = None
        with contextlib.suppress(VerveError):
            self._counter.lease.release()
        event_log.flush(_FLUSH_SECONDS)

    def state(self) -> LeaderState:
        """Return the state of publishing. Any worker can: the segment has the cursors."""
        term = self._term
        return LeaderState(
            term=None if term is None else term.number,
            ledger_lag=self._lag(Cursor.LEDGER),
            ledger_attempts=0 if term is None else term.ledger_writer.attempts,
            ledger_error=None if term is None else term.ledger_writer.error,
            log_lag=self._lag(Cursor.LOG) if LOG in self._settings.sinks else 0,
            sinks=() if term is None else tuple(worker.state for worker in term.workers),
        )

    def step(self) -> float:
        """Stand for the lease, and maintain the segment. Return seconds until the next step."""
        if self._exits or self._is_orphan():
            self._exit()
            return IDLE_SECONDS
        self._tick()
        if self._watch is not None:
            self._watch(leads=self._term is not None)
        # A little more, so that the boundary has passed at the next step.
        pause = min(TICK_SECONDS, self._counter.until_boundary())
        return max(pause, 0.0) + _AFTER_BOUNDARY_SECONDS

    def _lag(self, cursor: Cursor) -> int:
        """Return the seconds of sealed windows behind the cursor."""
        taken, published = self._counter.ring.cursor(cursor), self._counter.ring.newest()
        if taken == 0 and published != 0:
            return len(self._counter.closed()) * self._counter.window
        return max(0, published - taken)

    def _tick(self) -> None:
        term = self._counter.lease.acquire()
        if term != (None if self._term is None else self._term.number):
            self._change_term(term)
        now = self._clock.monotonic()
        try:
            if self._term is not None:
                self._counter.maintenance.run()
        finally:
            if self._term is not None and self._counter.ring.newest() != self._published:
                self._published = self._counter.ring.newest()
                self._term.wake()
        if term is not None and now - self._checked >= IDLE_SECONDS:
            self._checked = now
            self._report_removal(term)
        if now - self._populated >= POPULATE_SECONDS:
            self._populated = now
            self._counter.maintenance.populate()

    def _change_term(self, term: int | None) -> None:
        if self._term is not None:
            events.LEADER_DEPOSED.emit(term=self._term.number)
            # Its tasks end by themselves: this one must not wait for them.
            self._term.end(self._clock.monotonic())
        self._term = None
        if term is not None:
            events.LEADER_STARTED.emit(term=term)
            self._report_kafka()
            if self._settings.archive is not None:
                events.ARCHIVE_ON.emit(archive=self._settings.archive)
            self._term = Term(
                self._counter, self._settings, term, clock=self._clock, ports=self._ports
            )

    def _report_removal(self, term: int) -> None:
        """Log once per host that the file of the segment was removed."""
        counter = self._counter
        if counter.in_place() or counter.ring.cursor(Cursor.REMOVAL):
            return
        if counter.ring.advance_cursor(Cursor.REMOVAL, counter.current().window_start, term):
            events.SEGMENT_REMOVED.emit(path=self._settings.segment)

    def _report_kafka(self) -> None:
        if KAFKA in self._settings.sinks:
            both = LOG in self._settings.sinks
            events.KAFKA_CHOSEN.emit(
                topic=self._settings.kafka_topic,
                brokers=self._settings.kafka_brokers or (),
                relation="beside" if both else "in the place of",
            )

    def _is_orphan(self) -> bool:
        """Whether the server that started this worker is gone, so that nothing would end it.

        Only a worker that a server of Python processes forked or spawned can be an orphan. A
        process that the user started may outlive its shell.
        """
        return self._parent is not None and os.getppid() != self._parent.pid

    def _exit(self) -> None:
        """End this process. Requests in flight have less than two seconds to finish."""
        if self._exits:
            return
        self._exits = True
        # Neither the shutdown of the server nor a log line may delay the end.
        end = threading.Timer(DRAIN_SECONDS - 0.2, os._exit, [1])
        end.daemon = True
        end.start()
        events.WORKER_ORPHANED.emit()
        os.kill(os.getpid(), signal.SIGTERM)
