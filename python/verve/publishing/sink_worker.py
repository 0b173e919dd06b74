"""Publishes windows to one sink: in order, each until the sink took it, with growing pauses.

Each sink has a worker with a thread of its own, so a slow or failing sink delays only itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from verve.clock import CLOCK, Clock
from verve.ledger.ledger import LedgerError
from verve.log import events
from verve.sinks import FailureKind, SinkError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from verve.sinks import Sink
    from verve.windows.window import Window


@dataclass(frozen=True, slots=True)
class DeliveryState:
    """Failed attempts in a row of one sink, and the last error."""

    sink: str
    attempts: int
    error: str | None
    failure: FailureKind | None = None


class DeliveryQueue(Protocol):
    """The windows for one sink."""

    def pending(self) -> Iterable[Window]:
        """Return the windows that the sink has not taken, oldest first."""
        ...

    def mark_taken(self, window: Window) -> bool:
        """Note that the sink took the window. False: another leader delivers now, so stop."""
        ...

    def close(self) -> None:
        """Release what the queue holds."""


class SinkWorker:
    """Publishes the windows of a queue to a sink. `report` is called when its state changes."""

    def __init__(
        self,
        sink: Sink,
        queue: DeliveryQueue,
        report: Callable[[DeliveryState], None] = lambda _state: None,
        *,
        clock: Clock = CLOCK,
    ) -> None:
        self.sink = sink
        self._queue = queue
        self._report = report
        self._backoff = clock.backoff(longest=5.0)
        self._error: str | None = None
        self._failure: FailureKind | None = None
        self._began = False

    @property
    def state(self) -> DeliveryState:
        """How the deliveries do."""
        return DeliveryState(self.sink.name, self._backoff.attempts, self._error, self._failure)

    def step(self) -> float | None:
        """Deliver what is pending. Return seconds until the next attempt; None when all is done."""
        if remaining := self._backoff.remaining:
            return remaining
        if not self._began:
            # Replaces the report of an earlier worker.
            self._began = True
            self._report(self.state)
        try:
            for window in self._queue.pending():
                self.sink.take(window)
                if not self._queue.mark_taken(window):
                    return None
                self._recovered()
        except SinkError as error:
            return self._failed(error, error.kind)
        except LedgerError as error:
            return self._failed(error, FailureKind.LEDGER)
        # A ledger that can be read again ends the failure too, even if nothing is pending.
        self._recovered()
        return None

    def close(self) -> None:
        """Close the sink and its queue."""
        self.sink.close()
        self._queue.close()

    def _failed(self, error: SinkError | LedgerError, failure: FailureKind) -> float | None:
        if failure is FailureKind.INTERRUPTED:
            return None
        self._error, self._failure = str(error), failure
        if self._backoff.failed():
            events.SINK_DELAYED.emit(
                sink=self.sink.name, error=error, attempts=self._backoff.attempts
            )
        self._report(self.state)
        return self._backoff.remaining

    def _recovered(self) -> None:
        if self._error is None:
            return
        self._error = self._failure = None
        failed = self._backoff.succeeded()
        events.SINK_RECOVERED.emit(sink=self.sink.name, attempts=failed)
        self._report(self.state)
