"""Takes closed windows to one sink: in order, until it has them, with pauses that grow.

A courier has a thread of its own, so a sink that is down or slow delays only itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from verve.backoff import Backoff
from verve.ledger.ledger import LedgerError
from verve.log import events
from verve.sinks import SinkError, Trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from verve.log.background import Notices
    from verve.sinks import Sink
    from verve.windows.window import Window


@dataclass(frozen=True, slots=True)
class Delivery:
    """How a sink does."""

    sink: str
    attempts: int
    error: str | None
    trouble: Trouble | None = None


class Source(Protocol):
    """Where a courier gets its windows, and whom it tells that they were taken."""

    def pending(self) -> Iterable[Window]:
        """The windows that the sink has not taken, oldest first."""
        ...

    def take_note(self, window: Window) -> bool:
        """The sink took it. False: somebody else delivers now, and this courier is to stop."""
        ...


class Courier:
    """Carries windows from a source to a sink. `report` is told when it does well or badly."""

    def __init__(
        self,
        sink: Sink,
        source: Source,
        notices: Notices,
        report: Callable[[Delivery], None] = lambda _delivery: None,
    ) -> None:
        self.sink = sink
        self._source = source
        self._notices = notices
        self._report = report
        self._backoff = Backoff()
        self._error: str | None = None
        self._trouble: Trouble | None = None
        self._began = False

    @property
    def delivery(self) -> Delivery:
        """How it goes."""
        return Delivery(self.sink.name, self._backoff.attempts, self._error, self._trouble)

    def run(self) -> float | None:
        """Deliver what is pending. Seconds until the next attempt, or None when all is done."""
        if remaining := self._backoff.remaining:
            return remaining
        if not self._began:
            # What is told of an earlier courier holds no longer.
            self._began = True
            self._report(self.delivery)
        try:
            for window in self._source.pending():
                self.sink.take(window)
                if not self._source.take_note(window):
                    return None
                self._recovered()
        except SinkError as error:
            return self._failed(error, error.trouble)
        except LedgerError as error:
            return self._failed(error, Trouble.LEDGER)
        # A ledger that can be read again and holds nothing for us is an end of the trouble, too.
        self._recovered()
        return None

    def _failed(self, error: SinkError | LedgerError, trouble: Trouble) -> float | None:
        if trouble is Trouble.INTERRUPTED:
            return None
        self._error, self._trouble = str(error), trouble
        if self._backoff.failed():
            self._notices.put(
                events.SINK_DELAYED,
                sink=self.sink.name,
                error=error,
                attempts=self._backoff.attempts,
            )
        self._report(self.delivery)
        return self._backoff.remaining

    def _recovered(self) -> None:
        if self._error is None:
            return
        self._error = self._trouble = None
        failed = self._backoff.succeeded()
        self._notices.put(events.SINK_RECOVERED, sink=self.sink.name, attempts=failed)
        self._report(self.delivery)
