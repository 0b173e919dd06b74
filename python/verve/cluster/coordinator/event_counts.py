"""Totals for the status of a host, counted from the events on their way to the log."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from verve.log import events
from verve.log.background import Notices

if TYPE_CHECKING:
    from verve.log.event_log import Event


class EventCounts(Notices):
    """Counts events and passes them on."""

    def __init__(self, notices: Notices) -> None:
        self._notices = notices
        self._counts: Counter[str] = Counter()
        self.resent_ids = 0
        """Ids that were sent again to complete their window."""
        self.revisions = 0
        """Records of this host that replaced an earlier one."""

    def put(self, event: Event, **values: Any) -> None:  # noqa: ANN401 - see Event.emit
        """Count an event, and have it logged."""
        self._counts[event.name] += 1
        if event is events.WINDOW_RESENT:
            self.resent_ids += int(values["ids"])
        elif event in {events.WINDOW_REVISED, events.WINDOW_DEGRADED}:
            self.revisions += int(values["revision"]) > 1
        self._notices.put(event, **values)

    def of(self, event: Event) -> int:
        """How often this event occurred."""
        return self._counts[event.name]
