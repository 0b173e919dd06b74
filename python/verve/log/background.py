"""The port through which parts of the service log events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .event_log import Event


class Notices:
    """Logs events in the background. Tests replace it by a recorder of events."""

    def put(self, event: Event, **values: Any) -> None:  # noqa: ANN401 - see Event.emit
        """Queue an event with a value per field."""
        event.emit(**values)
