"""How often something happened, told by the events on their way to the log."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from verve.log import events

if TYPE_CHECKING:
    from verve.cluster.interfaces import Notices
    from verve.log.event_log import Event


class EventCounts:
    """Notices that are counted."""

    def __init__(self, notices: Notices) -> None:
        self._notices = notices
        self._told: Counter[str] = Counter()
        self.resent_ids = 0
        """Ids that were sent again when their window was closed."""
        self.revisions = 0
        """RecentRecords that this host made in the place of an earlier one."""

    def put(self, event: Event, **values: Any) -> None:  # noqa: ANN401 - see Event.emit
        """Count an event, and have it logged."""
        self._told[event.name] += 1
        if event is events.WINDOW_RESENT:
            self.resent_ids += int(values["ids"])
        elif event in {events.WINDOW_REVISED, events.WINDOW_DEGRADED}:
            self.revisions += int(values["revision"]) > 1
        self._notices.put(event, **values)

    def told(self, event: Event) -> int:
        """How often it was told."""
        return self._told[event.name]
