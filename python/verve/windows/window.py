"""The record of a sealed window, for the ledger, the sinks and the API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from verve.timestamps import rfc3339

if TYPE_CHECKING:
    from verve._verve import WindowRecord


LATEST_START = 253_402_128_000
"""Seconds since the epoch, one day before the last start that a date can represent."""
LONGEST_SECONDS = 86_400
LATE_WINDOWS = 3
"""Backlog (in windows) above which the ledger, a sink or Redis mode is degraded."""
_LIMIT = 2**63


class Key(NamedTuple):
    """The identity of a window: its start (seconds since the epoch) and its length."""

    window_start: int
    window_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The figures of one sealed window.

    `window_start` is in seconds since the epoch. `requests` counts accepted ids, `duplicates` those
    that the window had already counted, `late` those that the next window counted because this one
    was frozen. `gap` marks a window that a step of the clock skipped. A higher `revision` replaces
    a lower one.

    In a cluster `unique` is the count of all hosts, and `host_unique` and the other figures are
    those of this host. Revision 0 is the provisional count of this host.
    """

    window_start: int
    window_seconds: int
    unique: int
    requests: int = 0
    duplicates: int = 0
    late: int = 0
    rejected: int = 0
    gap: bool = False
    degraded: bool = False
    revision: int = 1
    host_unique: int | None = None

    @classmethod
    def from_record(cls, record: WindowRecord) -> Window:
        """Return the window of a record of the ring."""
        return cls(
            window_start=record.window_start,
            window_seconds=record.window_seconds,
            unique=record.unique,
            requests=record.requests,
            duplicates=record.duplicates,
            late=record.late,
            rejected=record.rejected,
            gap=record.gap,
        )

    @property
    def is_sound(self) -> bool:
        """Whether every figure is in its valid range; a damaged record has figures outside it."""
        figures = (
            self.unique,
            self.requests,
            self.duplicates,
            self.late,
            self.rejected,
            self.revision,
            0 if self.host_unique is None else self.host_unique,
        )
        return (
            all(type(figure) is int and 0 <= figure < _LIMIT for figure in figures)
            and type(self.window_start) is int
            and 0 <= self.window_start <= LATEST_START
            and type(self.window_seconds) is int
            and 0 < self.window_seconds <= LONGEST_SECONDS
        )

    @property
    def key(self) -> Key:
        """The identity of the window in the ledger."""
        return Key(self.window_start, self.window_seconds)

    def as_json(self) -> dict[str, Any]:
        """Return the object of `/api/verve/windows`, which has the fields of the log line."""
        host = {} if self.host_unique is None else {"host_unique": self.host_unique}
        return {
            "window_start": rfc3339(self.window_start),
            "window_seconds": self.window_seconds,
            "unique": self.unique,
            **host,
            "requests": self.requests,
            "duplicates": self.duplicates,
            "late": self.late,
            "rejected": self.rejected,
            "gap": self.gap,
            "degraded": self.degraded,
            "revision": self.revision,
        }
