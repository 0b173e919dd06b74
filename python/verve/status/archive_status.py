"""The state of the archive of a host: a status file that every process of the host may read.

The leader writes it into the state directory; a failure to write it is ignored.
"""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, NamedTuple

from verve._verve import boot_nanoseconds
from verve.clock import CLOCK, Clock

from .status_file import read_status, remove_leftovers, write_status

if TYPE_CHECKING:
    from pathlib import Path

    from verve.config import Settings

FILE_NAME = "archive.json"
MOST = 256
"""Windows that were not kept, and that the file names: the newest ones."""
_EVERY_SECONDS = 1.0
_LONGEST_REASON = 80
_TOTALS = ("archived", "empty", "gap", "lost", "dropped", "writer_starts")


class Unkept(NamedTuple):
    """A window whose ids the archive does not have. `state` is `lost` or `dropped`."""

    window_start: int
    window_seconds: int
    state: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveStatus:
    """The state of the archive, as its leader knows it.

    - `written`: time of the write, in nanoseconds since boot.
    - `archived`, `empty`, `gap`, `lost`, `dropped`: windows by what became of them, over all terms.
    - `writer_starts`: starts of the writer's process, over all terms.
    - `waiting`: number of windows in the spool; `waiting_since`: the start of the oldest window
      that is not in the archive, 0 if there is none.
    - `spool_error`, `error`: why the spool, and the archive, take no windows; `attempts`: failed
      attempts in a row of the writer.
    - `kept_up`: when the writer had last done all its roll-ups and deletions, in Unix seconds;
      until then, when the host had its first leader with an archive.
    - `unkept`: the newest windows that are lost or dropped.
    """

    written: int | None = None
    archived: int = 0
    empty: int = 0
    gap: int = 0
    lost: int = 0
    dropped: int = 0
    writer_starts: int = 0
    waiting: int = 0
    waiting_since: int = 0
    spool_bytes: int = 0
    spool_error: str | None = None
    error: str | None = None
    attempts: int = 0
    kept_up: int = 0
    unkept: tuple[Unkept, ...] = ()

    def by_state(self) -> dict[str, int]:
        """The number of windows by what became of them."""
        return {
            "archived": self.archived,
            "empty": self.empty,
            "gap": self.gap,
            "lost": self.lost,
            "dropped": self.dropped,
        }


def of(settings: Settings) -> ArchiveStatus:
    """The state that the leader wrote last; an invalid value is replaced by its default."""
    values = read_status(settings.state_dir / FILE_NAME)
    found = {
        field.name: values[field.name]
        for field in fields(ArchiveStatus)
        if type(values.get(field.name)) in ({str} if "error" in field.name else {int})
    }
    return ArchiveStatus(**found, unkept=_unkept(values.get("unkept")))


def _unkept(values: object) -> tuple[Unkept, ...]:
    found = []
    for row in values if isinstance(values, list) else []:
        match row:
            case [int(start), int(seconds), "lost" | "dropped" as state, str(reason)]:
                found.append(Unkept(start, seconds, state, reason))
    return tuple(found)


class ArchiveReport:
    """Writes the file during one term; the totals continue those of the term before."""

    def __init__(self, settings: Settings, clock: Clock = CLOCK) -> None:
        self._path: Path = settings.state_dir / FILE_NAME
        self._clock = clock
        remove_leftovers(self._path)
        before = of(settings)
        self._totals = {name: getattr(before, name) for name in _TOTALS}
        self._unkept = before.unkept
        self.kept_up = before.kept_up or clock.wall_ns() // 10**9
        self._said: ArchiveStatus | None = None
        self._said_at = 0.0

    def count(self, name: str) -> None:
        """Add one to a total."""
        self._totals[name] += 1

    def add_unkept(self, window: Unkept) -> None:
        """Add a window that is not kept."""
        window = window._replace(reason=window.reason[:_LONGEST_REASON])
        self._unkept = (*self._unkept, window)[-MOST:]

    def write(self, status: ArchiveStatus) -> None:
        """Replace the file if the state changed, or the last write is a second old."""
        now = replace(status, unkept=self._unkept, kept_up=self.kept_up, **self._totals)
        age = self._clock.monotonic() - self._said_at
        if now == self._said and age < _EVERY_SECONDS:
            return
        with contextlib.suppress(OSError):
            write_status(self._path, asdict(now) | {"written": boot_nanoseconds()})
            self._said, self._said_at = now, self._clock.monotonic()
