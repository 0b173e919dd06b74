"""A closed window as it is stored, published and shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from verve.timestamps import rfc3339

if TYPE_CHECKING:
    from verve._verve import WindowRecord


LATEST_START = 253_402_128_000
"""A day before the last one that a date can be made of."""
LONGEST_SECONDS = 86_400
_MOST = 2**63


class Key(NamedTuple):
    """What tells one window from another: its start (seconds since the epoch) and its length."""

    window_start: int
    window_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The figures of one closed window.

    `window_start` is in seconds since the epoch. `requests` counts accepted ids, `duplicates` those
    that were in the window already, `late` those that came while it was closing and were counted in
    the next one. `gap` marks a window that a step of the clock skipped. A higher `revision`
    replaces a lower one.

    In a cluster `unique` is the count of all hosts, `host_unique` and the others are this host's,
    and revision 0 is what this host counted by itself.
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
        """The window that a record of the sealed ring describes."""
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
        """Whether the figures can be those of a window: what is damaged, or not ours, is not."""
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
            all(type(figure) is int and 0 <= figure < _MOST for figure in figures)
            and type(self.window_start) is int
            and 0 <= self.window_start <= LATEST_START
            and type(self.window_seconds) is int
            and 0 < self.window_seconds <= LONGEST_SECONDS
        )

    @property
    def key(self) -> Key:
        """Its identity in the ledger."""
        return Key(self.window_start, self.window_seconds)

    def as_json(self) -> dict[str, Any]:
        """The object of `/api/verve/windows`, and the fields of the log line."""
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
