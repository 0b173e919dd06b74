"""What a term takes from outside: threads for its tasks, the cluster, the sinks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from verve.log.background import Notices
from verve.sinks import open_sink

from .task import Task

if TYPE_CHECKING:
    from verve._verve import Counter
    from verve.cluster.coordinator.coordinator import Coordinator
    from verve.cluster.interfaces import Feed
    from verve.config import Settings
    from verve.sinks import Sink

    from .lease import Lease


def coordinate(counter: Counter, settings: Settings, lease: Lease, feed: Feed) -> Coordinator:
    """Make the coordinator of a term."""
    # Imported here, since most hosts count alone.
    from verve.cluster.coordinator.coordinator import Coordinator  # noqa: PLC0415

    return Coordinator(counter, settings, lease, feed, Notices())


Coordinate: TypeAlias = Callable[["Counter", "Settings", "Lease", "Feed"], "Coordinator"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The real ones by default. A simulation puts others in their place."""

    start: Callable[[Task], None] = Task.start
    """Has the steps of a task taken."""
    coordinate: Coordinate = coordinate
    """Makes the coordinator of a cluster."""
    open_sink: Callable[[Settings, str], Sink] = open_sink
    """Makes the sink of a name."""


PORTS = Ports()
"""The real ones."""
