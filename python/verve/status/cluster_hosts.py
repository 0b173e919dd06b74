"""The other hosts of a cluster in the status file, so that every process of the host knows them.

The leader gets their lines with each heartbeat. What the file holds is checked again when it is
read.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from verve.timestamps import rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST = 64
"""Number of hosts in the file: it stays far below the size up to which it is read."""
_LONGEST_NAME = 60
_LATEST = 253_402_300_799  # the last second that has four digits of a year


class Condition(StrEnum):
    """The condition of a host, as the heartbeats tell it."""

    LIVE = "live"
    LATE = "late"
    SILENT = "silent"
    """No window waits for it any more."""


@dataclass(frozen=True, slots=True)
class HostCondition:
    """A host: `since` is the time of its last heartbeat if it is not live, in epoch seconds.

    `skew_seconds` is the lead of its wall clock over Redis's time.
    """

    host_id: str
    name: str
    condition: Condition
    since: int | None
    skew_seconds: float
    unsent_windows: int

    def as_json(self) -> dict[str, object]:
        """The fields of the event stream."""
        return {
            "host_id": self.host_id,
            "name": self.name or None,
            "state": str(self.condition),
            "last_heartbeat": None if self.since is None else rfc3339(self.since),
            "skew": self.skew_seconds,
            "unsent_windows": self.unsent_windows,
        }


def shown(hosts: Iterable[HostCondition]) -> tuple[HostCondition, ...]:
    """At most `MOST` hosts, by name; of more than that, those that are not live come first."""
    first = sorted(hosts, key=lambda host: (host.condition is Condition.LIVE, _order(host)))
    return tuple(sorted(first[:MOST], key=_order))


def _order(host: HostCondition) -> tuple[str, str]:
    return host.name, host.host_id


def as_values(hosts: Iterable[HostCondition]) -> list[list[object]]:
    """The hosts for the file."""
    return [
        [
            host.host_id,
            host.name[:_LONGEST_NAME],
            str(host.condition),
            host.since,
            host.skew_seconds,
            host.unsent_windows,
        ]
        for host in hosts
    ]


def from_values(values: object) -> tuple[HostCondition, ...]:
    """The hosts of the file, without those that are not valid."""
    rows = values[:MOST] if isinstance(values, list) else []
    return tuple(host for row in rows if (host := _host(row)) is not None)


def _host(row: object) -> HostCondition | None:
    match row:
        case [str(id), str(name), str(word), time, int() | float() as skew, int(unsent)]:
            since = time if isinstance(time, int) else None
            is_time = time is None or (since is not None and 0 <= since <= _LATEST)
            is_sound = is_time and abs(skew) < _LATEST and 0 <= unsent <= _LATEST
            if is_sound and word in list(Condition):
                return HostCondition(id, name, Condition(word), since, skew, unsent)
    return None
