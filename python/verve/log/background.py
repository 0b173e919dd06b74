"""Where parts of the service put the events that they log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import event_log

if TYPE_CHECKING:
    from .event_log import Event


class Notices:
    """Has events logged; tests have one that remembers them."""

    def put(self, event: Event, **values: Any) -> None:  # noqa: ANN401 - see Event.emit
        """Have an event logged soon."""
        event.emit(**values)

    def flush(self, timeout: float) -> bool:
        """Wait until all are written, at most `timeout` seconds; whether they are."""
        return event_log.flush(timeout)
