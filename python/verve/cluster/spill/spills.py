"""Spills: frozen windows on disk, while Redis does not have them and their arenas are needed.

Nothing that was acknowledged is given up. When `VERVE_SPILL_MAX` is reached, or the disk is full,
the arenas stay as they are; when none of them is free, accepts are answered 503 `no arena`. To
drop the ids of an old window instead would turn many an `ok` that a caller got into a lie; a 503
is the truth, and the caller can try another host.
"""

from __future__ import annotations

import contextlib
import errno
import time
from typing import TYPE_CHECKING

from verve.backoff import Backoff
from verve.log import events, skipped
from verve.stores.base import RETENTION_SECONDS

from . import spill_file
from .spill_file import DamagedError, SpilledIds, SpillHead

if TYPE_CHECKING:
    from pathlib import Path

    from verve.cluster.interfaces import Notices
    from verve.config import Settings

    from .arena_ids import Ids

DIRECTORY = "spill"
_ENDING = ".ids"
_LONGEST_PAUSE = 10.0


def leave_behind(settings: Settings) -> None:
    """Set aside what waits for a cluster that this host has left; another one must not count it."""
    for path in (settings.state_dir / DIRECTORY).glob(f"*{_ENDING}"):
        path.rename(path.with_name(f"{path.name}.left"))


class Spills:
    """The spill files of a state directory; all calls may wait for the disk."""

    def __init__(self, settings: Settings, identity: str, notices: Notices) -> None:
        self.directory: Path = settings.state_dir / DIRECTORY
        self._seconds = settings.window
        self._most = settings.spill_max
        self._identity = identity
        self._notices = notices
        self._backoff = Backoff(longest=_LONGEST_PAUSE)
        self._full = False

    @property
    def due(self) -> bool:
        """Whether to try again after a failure."""
        return self._backoff.remaining == 0

    def found(self) -> list[SpilledIds]:
        """What is left from before, of other identities too. Damaged ones are set aside."""
        spills = []
        for path in self._paths():
            try:
                if not path.is_file():
                    # To open something else might take for ever.
                    skipped.tell(f"`{self.directory}`", path.name)
                elif path.suffix == ".part":
                    # Its writer did not come to the end, so the arena was not let go.
                    path.unlink(missing_ok=True)
                elif path.suffix == _ENDING:
                    spills.append(SpilledIds.open(path))
            except DamagedError as error:
                self.set_aside(error)
            except OSError as error:
                # One that cannot be read must not keep the others, and all windows to come.
                self._notices.put(events.SPILL_UNREADABLE, path=path, error=error)
        return spills

    def write(self, window_start: int, ids: Ids) -> SpilledIds | None:
        """Write a window's ids; None when that was not possible, and may be later.

        Raises `GoneError`.
        """
        head = SpillHead(window_start, self._seconds, ids.count, self._identity)
        name = f"{window_start}-{self._seconds}-{self._identity}{_ENDING}"
        path = self.directory / name
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            used = self.used()
            if used + spill_file.bytes_of(ids.count) > self._most:
                self._tell_full(used)
                self._backoff.failed()
                return None
            began = time.monotonic()
            spill_file.write(path, head, ids)
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
            seconds=round(time.monotonic() - began, 3),
        )
        return spilled

    def used(self) -> int:
        """Bytes that all spills take, those set aside too."""
        return self.usage()[1]

    def usage(self) -> tuple[int, int]:
        """How many files there are, those set aside too, and the bytes that they take."""
        sizes = []
        for path in self._paths():
            with contextlib.suppress(OSError):
                sizes.append(path.stat().st_size)
        return len(sizes), sum(sizes)

    def remove(self, spilled: SpilledIds) -> None:
        """Redis has it, or it is too old to be of use."""
        with contextlib.suppress(OSError):
            spilled.path.unlink(missing_ok=True)
        self._full = False

    def set_aside(self, error: DamagedError) -> None:
        """Keep a damaged spill under another name, for whoever wants to look into it."""
        kept = error.path.with_name(error.path.name + ".damaged")
        with contextlib.suppress(OSError):
            error.path.rename(kept)
        self._notices.put(events.SPILL_DAMAGED, error=error, kept=kept)

    def remove_old(self, now: float) -> None:
        """Remove what was written longer ago than ids are kept: it was set aside, or is unused.

        An hour more, since the windows themselves remove what they use.
        """
        for path in self._paths():
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < now - RETENTION_SECONDS - 3_600:
                    path.unlink(missing_ok=True)
                    self._notices.put(events.SPILL_DROPPED, path=path)

    def _paths(self) -> list[Path]:
        """All that is there; nothing where that cannot be looked at."""
        try:
            return sorted(self.directory.iterdir())
        except FileNotFoundError:
            return []
        except OSError as error:
            skipped.tell("the state directory", self.directory.name, error)
            return []

    def _tell_full(self, used: int) -> None:
        if not self._full:
            self._full = True
            self._notices.put(events.SPILL_FULL, used=used, most=self._most)
