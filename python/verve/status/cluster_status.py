"""The state of a host in its cluster: a status file that every process of the host may read.

Only the leader knows the state, but every worker answers requests for readiness, metrics and the
current count. The file is in the state directory; a failure to write it is ignored.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING

from verve._verve import boot_nanoseconds
from verve.clock import CLOCK, Clock
from verve.windows.window import LATE_WINDOWS

from . import cluster_hosts
from .cluster_hosts import Condition
from .status_file import read_status, remove_leftovers, write_status

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from verve.config import Settings

    from .cluster_hosts import HostCondition

FILE_NAME = "redis.json"
EVERY_SECONDS = 1.0
"""Seconds between two writes of an unchanged state."""
STALE_SECONDS = 5.0
"""Age of the file in seconds above which the leader is dead or hangs."""

_WORD = re.compile(r"[a-z-]{1,30}")
_TOTALS = ("revisions", "degraded_windows", "resent_ids", "disturbances")
_KINDS: dict[str, type | tuple[type, ...]] = {
    "bool": bool,
    "int": int,
    "float": (float, int),
    "int | None": int,
    "float | None": (float, int),
    "str | None": str,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """The state of a host in its cluster, as its leader knows it.

    - `term`: the leader's term.
    - `written`: time of the write, in nanoseconds since boot.
    - `counted`: time at which the leader read the cluster's count of the current window, in
      nanoseconds since boot.
    - `joined`: whether the host is registered in the current window.
    - `refusal`: the reason why the cluster does not admit this host.
    - `error`, `trouble` (the same in one word), `since` (epoch seconds), `attempts`: about the
      consecutive failed attempts to reach Redis.
    - `skew_seconds`: lead of the wall clock over Redis's time; None before the first measurement.
    - `unsent_windows`: number of windows that have ended and of which Redis lacks ids.
    - `live_hosts`: number of live hosts at the last heartbeat.
    - `hosts`: the hosts at the last heartbeat.
    - `revisions`, `degraded_windows`, `resent_ids`, `disturbances`: totals over all terms.
    """

    term: int = 0
    written: int | None = None
    counted: int | None = None
    joined: bool = False
    refusal: str | None = None
    error: str | None = None
    trouble: str | None = None
    since: float | None = None
    attempts: int = 0
    skew_seconds: float | None = None
    unsent_windows: int = 0
    spill_files: int = 0
    spill_bytes: int = 0
    live_hosts: int = 0
    hosts: tuple[HostCondition, ...] = ()
    revisions: int = 0
    degraded_windows: int = 0
    resent_ids: int = 0
    disturbances: int = 0

    @property
    def is_stale(self) -> bool:
        """Whether no leader has written the file recently."""
        age = seconds_since(self.written)
        return age is None or age > STALE_SECONDS

    @property
    def is_up(self) -> bool:
        """Whether the host counts in its cluster and Redis answers its leader."""
        return self.joined and self.error is None and self.refusal is None and not self.is_stale

    @property
    def is_late(self) -> bool:
        """Whether too many windows wait for Redis."""
        return self.unsent_windows > LATE_WINDOWS

    def figures(self, window_seconds: int) -> dict[str, str | int | float | None]:
        """The public figures, without the full error: it may name hosts and users."""
        return {
            "lag_seconds": self.unsent_windows * window_seconds,
            "unsent_windows": self.unsent_windows,
            "failed_attempts": self.attempts,
            "trouble": self.trouble,
            "spill_bytes": self.spill_bytes,
            "skew_seconds": self.skew_seconds,
            "live_hosts": self.live_hosts,
        }


def of(settings: Settings) -> Membership:
    """The state that the leader wrote last; an invalid value is replaced by its default."""
    values = read_status(_path(settings))
    found = {
        field.name: values[field.name]
        for field in fields(Membership)
        if isinstance(values.get(field.name), _KINDS.get(str(field.type), ()))
    }
    if _WORD.fullmatch(found.get("trouble") or "") is None:
        found.pop("trouble", None)
    return Membership(**found, hosts=cluster_hosts.from_values(values.get("hosts")))


def live(settings: Settings, host_id: str) -> frozenset[str]:
    """The ids of the hosts that the last leader of this host saw and did not find silent.

    Empty if that leader took the host out of the cluster, and if it was that of another host.
    """
    found = {host.host_id for host in of(settings).hosts if host.condition is not Condition.SILENT}
    return frozenset(found) if host_id in found else frozenset()


def seconds_since(moment: int | None) -> float | None:
    """Seconds since `moment` (nanoseconds since boot); None if it is from before a reboot."""
    if moment is None:
        return None
    age = (boot_nanoseconds() - moment) / 1e9
    return age if age >= 0 else None


class Report:
    """Writes the file during one term; the totals continue those of the previous term."""

    def __init__(self, settings: Settings, clock: Clock = CLOCK) -> None:
        self._path = _path(settings)
        self._clock = clock
        remove_leftovers(self._path)
        before = of(settings)
        self._totals = {name: getattr(before, name) for name in _TOTALS}
        self._since: float | None = None
        self._said: tuple[Membership, bool] | None = None
        self._said_at = 0.0

    def __call__(self, member: Membership, spills: Callable[[], tuple[int, int]]) -> None:
        """Write the state if it changed. `spills` returns the number and bytes of spill files."""
        if member.error is None:
            self._since = None
        elif self._since is None:
            self._since = self._clock.wall()
        with contextlib.suppress(OSError):
            files, size = spills()
            totals = {name: n + getattr(member, name) for name, n in self._totals.items()}
            now = replace(member, since=self._since, spill_files=files, spill_bytes=size, **totals)
            self._write(now)

    def _write(self, now: Membership) -> None:
        """Replace the file if the state changed or the last write is `EVERY_SECONDS` old."""
        # These may change twice per second: a change of them alone is written with the next one.
        told = replace(now, counted=None, hosts=()), bool(now.hosts)
        same = told == self._said
        if same and self._clock.monotonic() - self._said_at < EVERY_SECONDS:
            return
        hosts = cluster_hosts.as_values(now.hosts)
        write_status(self._path, asdict(now) | {"written": boot_nanoseconds(), "hosts": hosts})
        self._said, self._said_at = told, self._clock.monotonic()


def _path(settings: Settings) -> Path:
    return settings.state_dir / FILE_NAME
