"""The status of a sink, in a small file that every process of the host may read.

Only the leader delivers, but any worker may be asked. The file lies in the state directory; if it
cannot be written, nothing waits for it.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from verve._verve import VerveError
from verve.clock import CLOCK, Clock
from verve.ledger import ledger
from verve.sinks import FailureKind
from verve.status.status_file import read_status, remove_leftovers, write_status
from verve.windows.window import LATE_WINDOWS

if TYPE_CHECKING:
    from pathlib import Path

    from verve.config import Settings

    from .sink_worker import DeliveryState


@dataclass(frozen=True, slots=True)
class SinkStatus:
    """Failed attempts in a row, the last error, and the backlog.

    `failure` classifies the error; `since` is the time of the first failure (epoch seconds). The
    backlog is `waiting` in windows and `lag_seconds` in seconds; None if the ledger is unreadable.
    """

    attempts: int = 0
    error: str | None = None
    failure: str | None = None
    since: float | None = None
    waiting: int | None = None
    lag_seconds: int | None = None

    def is_behind(self, window_seconds: int) -> bool:
        """Whether the sink fails, or its backlog is unknown or above `LATE_WINDOWS`."""
        late = (self.lag_seconds or 0) > LATE_WINDOWS * window_seconds
        return late or self.error is not None or self.lag_seconds is None

    def figures(self) -> dict[str, str | int | None]:
        """Return the public figures. The error in full may name hosts and users: it is left out."""
        return {
            "lag_seconds": self.lag_seconds,
            "windows_waiting": self.waiting,
            "failed_attempts": self.attempts,
            "trouble": self.failure,
        }


def of(settings: Settings, sink: str) -> SinkStatus:
    """Return the status of `sink` from the leader's last report and from the ledger."""
    report = read_status(_path(settings, sink))
    attempts, error = report.get("attempts"), report.get("error")
    failure, since = report.get("trouble"), report.get("since")
    waiting = lag = None
    with contextlib.suppress(VerveError):
        backlog = ledger.backlog(ledger.path_of(settings), sink)
        waiting, lag = backlog.windows, backlog.seconds
    return SinkStatus(
        attempts=attempts if isinstance(attempts, int) else 0,
        error=error if isinstance(error, str) else None,
        failure=failure if isinstance(failure, str) and failure in set(FailureKind) else None,
        since=since if isinstance(since, float) else None,
        waiting=waiting,
        lag_seconds=lag,
    )


class SinkStatusFile:
    """Writes the status of one sink, for its worker."""

    def __init__(self, settings: Settings, sink: str, clock: Clock = CLOCK) -> None:
        self._path = _path(settings, sink)
        self._clock = clock
        remove_leftovers(self._path)
        self._since: float | None = None

    def __call__(self, state: DeliveryState) -> None:
        """Replace the file."""
        if state.error is None:
            self._since = None
        elif self._since is None:
            self._since = self._clock.wall()
        report = {
            "attempts": state.attempts,
            "error": state.error,
            "trouble": state.failure,
            "since": self._since,
        }
        with contextlib.suppress(OSError):
            write_status(self._path, report)


def _path(settings: Settings, sink: str) -> Path:
    return settings.state_dir / f"{sink}.json"
