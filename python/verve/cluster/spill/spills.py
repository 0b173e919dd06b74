"""The spills of a host: frozen windows on disk, whose arenas are needed before Redis has the ids.

No acknowledged id is given up. When `VERVE_SPILL_MAX` is reached or the disk is full, the arenas
stay as they are; when no arena is free, accepts are answered 503 `no arena`. Dropping the ids of an
old window instead would make earlier answers of `ok` wrong; after a 503 the caller can try another
host.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from verve import directories
from verve.cluster.runtime.machine import Machine
from verve.log import events, skipped
from verve.stores.base import RETENTION_SECONDS

from . import spill_file
from .spill_file import DamagedError, NewerError, SpilledIds, SpillHead

if TYPE_CHECKING:
    from pathlib import Path

    from verve.config import Settings
    from verve.log.background import Notices

    from .arena_ids import Ids

DIRECTORY = "spill"
_ENDING = ".ids"
_LONGEST_PAUSE = 10.0


def set_aside_all(settings: Settings) -> None:
    """Rename the spills for a cluster that this host has left, so that another counts none."""
    for path in (settings.state_dir / DIRECTORY).glob(f"*{_ENDING}"):
        path.rename(path.with_name(f"{path.name}.left"))


class Spills:
    """The spill files of a state directory. All calls may wait for the disk."""

    def __init__(
        self,
        settings: Settings,
        identity: str,
        notices: Notices,
        machine: Machine | None = None,
    ) -> None:
        """`identity` is that of the segment; `machine` the real one by default."""
        self._machine = machine or Machine()
        self.directory: Path = settings.state_dir / DIRECTORY
        self._seconds = settings.window
        self._most = settings.spill_max
        self._identity = identity
        self._notices = notices
        self._backoff = self._machine.backoff(_LONGEST_PAUSE)
        self._full = False

    @property
    def may_retry(self) -> bool:
        """Whether the pause after the last failure is over."""
        return self._backoff.remaining == 0

    def find(self) -> list[SpilledIds]:
        """The spills of earlier leaders, of other identities too. Sets damaged ones aside."""
        spills = []
        for path in self._paths():
            try:
                if not path.is_file():
                    # Opening anything else might block forever.
                    skipped.tell(f"`{self.directory}`", path.name)
                elif path.suffix == ".part":
                    # Its writer did not finish, so the arena was not released.
                    path.unlink(missing_ok=True)
                elif path.suffix == _ENDING:
                    spills.append(SpilledIds.open(path))
            except DamagedError as error:
                self.set_aside(error)
            except (OSError, NewerError) as error:
                # An unreadable file must not hold up the others, nor the next windows. That of a
                # newer version stays in its place, where the newer version finds it again.
                self._notices.put(events.SPILL_UNREADABLE, path=path, error=error)
        return spills

    def write(self, window_start: int, ids: Ids) -> SpilledIds | None:
        """Write the ids of a window; None if that failed, and may succeed later.

        Raises `GoneError`.
        """
        head = SpillHead(window_start, self._seconds, ids.count, self._identity)
        name = f"{window_start}-{self._seconds}-{self._identity}{_ENDING}"
        path = self.directory / name
        try:
            directories.make(self.directory)
            used = self.used()
            if used + spill_file.bytes_of(ids.count) > self._most:
                self._report_full(used)
                self._backoff.failed()
                return None
            began = self._machine.monotonic()
            spill_file.write(path, head, ids, self._machine.token())
            # `remove_old` goes by the same clock.
            os.utime(path, ns=(now := self._machine.wall_ns(), now))
            spilled = SpilledIds.open(path)
        except (OSError, DamagedError) as error:
            if self._backoff.failed():
                self._notices.put(
                    events.SPILL_FAILED,
                    window_start=window_start,
                    error=error,
                    disk_full=isinstance(error, OSError) and error.errno == errno.ENOSPC,
                )
            return None
        self._backoff.succeeded()
        self._full = False
        self._notices.put(
            events.SPILL_WRITTEN,
            window_start=window_start,
            ids=ids.count,
            path=path,
            seconds=round(self._machine.monotonic() - began, 3),
        )
        return spilled

    def used(self) -> int:
        """Bytes that all spills take, including those set aside."""
        return self.usage()[1]

    def usage(self) -> tuple[int, int]:
        """The number of files and their bytes, including those set aside."""
        sizes = []
        for path in self._paths():
            with contextlib.suppress(OSError):
                sizes.append(path.stat().st_size)
        return len(sizes), sum(sizes)

    def remove(self, spilled: SpilledIds) -> None:
        """Remove a spill: Redis has its ids, or they are too old."""
        with contextlib.suppress(OSError):
            spilled.path.unlink(missing_ok=True)
        self._full = False

    def set_aside(self, error: DamagedError) -> None:
        """Rename a damaged spill, so that a person can examine it."""
        kept = error.path.with_name(error.path.name + ".damaged")
        with contextlib.suppress(OSError):
            error.path.rename(kept)
        self._notices.put(events.SPILL_DAMAGED, error=error, kept=kept)

    def remove_old(self, now: float) -> None:
        """Remove files older than ids are kept, and an hour: set aside, or used by no window.

        `now` is in seconds since the epoch. Windows remove the spills that they use.
        """
        for path in self._paths():
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < now - RETENTION_SECONDS - 3_600:
                    path.unlink(missing_ok=True)
                    self._notices.put(events.SPILL_DROPPED, path=path)

    def _paths(self) -> list[Path]:
        """All files of the directory; none if it cannot be read."""
        try:
            return sorted(self.directory.iterdir())
        except FileNotFoundError:
            return []
        except OSError as error:
            skipped.tell("the state directory", self.directory.name, error)
            return []

    def _report_full(self, used: int) -> None:
        if not self._full:
            self._full = True
            self._notices.put(events.SPILL_FULL, used=used, most=self._most)
