"""How a sink does, in a small file that every process of the host may read.

Only the leader delivers, and any worker may be asked. The file lies in the state directory; that it
cannot be written holds up nothing.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from verve._verve import VerveError
from verve.ledger import ledger
from verve.sinks import Trouble
from verve.status.status_file import read_told, remove_left, write_told

if TYPE_CHECKING:
    from pathlib import Path

    from verve.config import Settings

    from .sink_worker import Delivery

LATE_WINDOWS = 3
"""So many windows may wait for a sink before it counts as behind."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Attempts that failed in a row, the error of the last one, and what waits.

    `trouble` is the error in one word, `since` when the first of them failed (epoch seconds). The
    lag is in windows and in their seconds; None when the ledger cannot tell.
    """

    attempts: int = 0
    error: str | None = None
    trouble: str | None = None
    since: float | None = None
    waiting: int | None = None
    lag_seconds: int | None = None

    def is_behind(self, window_seconds: int) -> bool:
        """Whether it fails, or has more to take than a moment's worth."""
        late = (self.lag_seconds or 0) > LATE_WINDOWS * window_seconds
        return late or self.error is not None or self.lag_seconds is None

    def figures(self) -> dict[str, str | int | None]:
        """What may be shown to everyone: no error in full, which may name hosts and users."""
        return {
            "lag_seconds": self.lag_seconds,
            "windows_waiting": self.waiting,
            "failed_attempts": self.attempts,
            "trouble": self.trouble,
        }


def of(settings: Settings, sink: str) -> Standing:
    """How `sink` does: by the leader's last report, and by the ledger."""
    told = read_told(_path(settings, sink))
    attempts, error = told.get("attempts"), told.get("error")
    trouble, since = told.get("trouble"), told.get("since")
    waiting = lag = None
    with contextlib.suppress(VerveError):
        backlog = ledger.backlog(ledger.path_of(settings), sink)
        waiting, lag = backlog.windows, backlog.seconds
    return Standing(
        attempts=attempts if isinstance(attempts, int) else 0,
        error=error if isinstance(error, str) else None,
        trouble=trouble if isinstance(trouble, str) and trouble in set(Trouble) else None,
        since=since if isinstance(since, float) else None,
        waiting=waiting,
        lag_seconds=lag,
    )


class Report:
    """Writes the file, for a courier to call."""

    def __init__(self, settings: Settings, sink: str) -> None:
        self._path = _path(settings, sink)
        remove_left(self._path)
        self._since: float | None = None

    def __call__(self, delivery: Delivery) -> None:
        """Write what changed."""
        if delivery.error is None:
            self._since = None
        elif self._since is None:
            self._since = time.time()
        standing = {
            "attempts": delivery.attempts,
            "error": delivery.error,
            "trouble": delivery.trouble,
            "since": self._since,
        }
        with contextlib.suppress(OSError):
            write_told(self._path, standing)


def _path(settings: Settings, sink: str) -> Path:
    return settings.state_dir / f"{sink}.json"
