"""How a host does in its cluster, in a small file that every process of the host may read.

Only the leader knows, and any worker is asked for readiness, metrics and the current count. The
file lies in the state directory; that it cannot be written holds up nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from verve import events

if TYPE_CHECKING:
    from pathlib import Path

    from verve.config import Settings
    from verve.log import Event

    from .ports import Notices

FILE_NAME = "redis.json"
STALE_SECONDS = 10.0
"""What is older tells of a leader that is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterStanding:
    """Times are in seconds since the epoch, by the host's clock. The totals are of this term.

    `joined`: the current window is registered. `refusal`: why this host may not count along.
    `skew_seconds`: how far the wall clock is ahead of Redis's time. `unsent_windows`: windows that
    have ended and whose ids are not all in Redis. `counted_at`: when the cluster's count of the
    current window was read.
    """

    written_at: float = 0.0
    joined: bool = False
    refusal: str | None = None
    error: str | None = None
    trouble: str | None = None
    since: float | None = None
    attempts: int = 0
    skew_seconds: float = 0.0
    unsent_windows: int = 0
    spill_bytes: int = 0
    counted_at: float | None = None
    hosts: int = 0
    revised_windows: int = 0
    degraded_windows: int = 0
    resent_ids: int = 0
    disturbances: int = 0

    @property
    def is_stale(self) -> bool:
        """Whether nobody writes it."""
        return time.time() - self.written_at > STALE_SECONDS

    @property
    def count_age(self) -> float | None:
        """Seconds since the cluster's count was read; None when there is none of late."""
        if self.counted_at is None or self.is_stale:
            return None
        return max(0.0, time.time() - self.counted_at)

    def figures(self) -> dict[str, str | int | None]:
        """What may be shown to everyone: no error in full, which may name hosts and users."""
        return {
            "trouble": self.trouble,
            "failed_attempts": self.attempts,
            "unsent_windows": self.unsent_windows,
            "spill_bytes": self.spill_bytes,
            "hosts": self.hosts,
        }


def of(settings: Settings) -> ClusterStanding:
    """How the host does, by its leader's last word."""
    told: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError):
        read = json.loads(_path(settings).read_text(encoding="utf-8"))
        names = {field.name for field in fields(ClusterStanding)}
        told = {name: value for name, value in read.items() if name in names}
    return ClusterStanding(**told)


def write(settings: Settings, standing: ClusterStanding) -> None:
    """Replace the file."""
    path = _path(settings)
    new = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
    with contextlib.suppress(OSError):
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(asdict(standing), file)
        new.replace(path)


class Tallied:
    """Notices that are counted on their way to the log."""

    def __init__(self, notices: Notices) -> None:
        self._notices = notices
        self._told: Counter[str] = Counter()
        self.resent_ids = 0

    def put(self, event: Event, **values: Any) -> None:  # noqa: ANN401 - see Event.emit
        """Count an event, and have it logged."""
        self._told[event.name] += 1
        if event is events.WINDOW_RESENT:
            self.resent_ids += int(values["ids"])
        self._notices.put(event, **values)

    def told(self, event: Event) -> int:
        """How often it was told."""
        return self._told[event.name]


def _path(settings: Settings) -> Path:
    return settings.state_dir / FILE_NAME
