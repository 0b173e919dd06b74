"""A window as the cluster counted it, on its way to the ledger and the sinks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from verve.windows.window import Window


class ClusterNote(NamedTuple):
    """What the cluster says of a window of this host, for the archive.

    `hosts` are the registered hosts; `final`: the count includes all of them, and no host has asked
    for a revision.
    """

    window_start: int
    hosts: tuple[str, ...]
    cluster_count: int
    final: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterWindow(Window):
    """`unique` is the cluster's count; `host_unique` and all other figures are this host's.

    `delivers`: this host is the deliverer: it publishes the revision to sinks of scope `CLUSTER`.
    """

    host_unique: int = 0
    delivers: bool = False

    @classmethod
    def of(
        cls, figures: Window, *, unique: int, revision: int, degraded: bool, delivers: bool
    ) -> ClusterWindow:
        """The cluster's count of a window of which this host has `figures`."""
        return cls(
            window_start=figures.window_start,
            window_seconds=figures.window_seconds,
            unique=unique,
            requests=figures.requests,
            duplicates=figures.duplicates,
            late=figures.late,
            rejected=figures.rejected,
            gap=figures.gap,
            degraded=degraded,
            revision=revision,
            host_unique=figures.unique,
            delivers=delivers,
        )
