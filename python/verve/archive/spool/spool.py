"""The directory of the spool: its files, its bound, and the space that stays free beside it."""

from __future__ import annotations

import contextlib
import os
import re
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from verve import directories
from verve.archive.errors import ArchiveError
from verve.archive.format import manifest

from . import spool_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from .spool_file import SpoolHead

DIRECTORY = "archive"
IDS = ".ids"
NOTE = ".note"
DAMAGED = ".damaged"
"""The end of the name of a file that was set aside."""
_NAME = re.compile(
    r"([0-9]{1,12})-([0-9]{1,5})-([0-9A-Za-z]{1,64})(?:-r([0-9]{1,20}))?\.(?:ids|note)"
)


class NoRoomError(ArchiveError):
    """The spool, or the disk, has no room for a window."""


class SpoolName(NamedTuple):
    """What the name of a file says: the window, its segment, and the number of a note."""

    window_start: int
    window_seconds: int
    segment: str
    number: int = 0


def name_of(path: Path) -> SpoolName | None:
    """What the name of a file of windows says; None for any other file."""
    found = _NAME.fullmatch(path.name)
    if found is None:
        return None
    return SpoolName(int(found[1]), int(found[2]), found[3], int(found[4] or 0))


class Spool:
    """The spool of a state directory. All calls may wait for the disk."""

    def __init__(self, state_dir: Path, most: int, reserve: int) -> None:
        """`most` bytes in all; `reserve` bytes stay free on the disk."""
        self.directory = state_dir / DIRECTORY
        self._most = most
        self._reserve = reserve

    def write(self, head: SpoolHead, pieces: Iterable[bytes], token: str) -> Path:
        """Write a window. Raises `OSError`, `NoRoomError`, and what `pieces` raises.

        A file that has as much of the window stays: an earlier leader may have written it, and this
        one may not have, or no longer have, its ids.
        """
        name = f"{head.window_start}-{head.window_seconds}-{head.segment}{IDS}"
        path = self.directory / name
        if spool_file.has(path, head):
            return path
        if head.count:
            self._check_room(spool_file.bytes_of(head.count))
        self._make()
        spool_file.write(path, head, pieces, token)
        return path

    def note(self, name: SpoolName, values: dict[str, Any]) -> None:
        """Write what the cluster says of a window. Raises `OSError`."""
        self._make()
        start, seconds, segment, number = name
        path = self.directory / f"{start}-{seconds}-{segment}-r{number}{NOTE}"
        under = path.with_name(f"{path.name}.{os.getpid()}.part")
        descriptor = os.open(under, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(manifest.sealed({"format": manifest.FORMAT, **values}))
            file.flush()
            os.fsync(file.fileno())
        under.rename(path)
        directories.sync(self.directory)

    def files(self, ending: str) -> list[Path]:
        """The files of windows that end so, those of the oldest window first."""
        found = [
            (name, path)
            for path in self._paths()
            if path.name.endswith(ending) and (name := name_of(path)) is not None
        ]
        return [path for _, path in sorted(found)]

    def oldest(self) -> int | None:
        """The start of the oldest window; None if there is none."""
        names = [name for path in self.files(IDS)[:1] if (name := name_of(path)) is not None]
        return names[0].window_start if names else None

    def usage(self) -> tuple[int, int]:
        """The number of windows that wait, and the bytes of all files."""
        sizes = []
        for path in self._paths():
            with contextlib.suppress(OSError):
                sizes.append(path.stat().st_size)
        return len(self.files(IDS)), sum(sizes)

    def remove_parts(self, token: str) -> None:
        """Remove what writers that were killed left behind; `token` is that of the caller."""
        for path in self._paths():
            if path.name.endswith(".part") and f".{token}." not in path.name:
                with contextlib.suppress(OSError):
                    path.unlink()

    def remove_damaged(self, age: float) -> None:
        """Remove files that were set aside more than `age` seconds ago."""
        for path in self.damaged():
            with contextlib.suppress(OSError):
                # A change of the name counts, not the last write.
                if path.stat().st_ctime < time.time() - age:
                    path.unlink()

    def damaged(self) -> list[Path]:
        """The files that were set aside."""
        return [path for path in self._paths() if path.name.endswith(DAMAGED)]

    def remove(self, path: Path) -> None:
        """Remove a file whose window is in the archive. Raises `OSError`."""
        path.unlink(missing_ok=True)
        directories.sync(self.directory)

    def check_reserve(self, size: int) -> None:
        """Raise `NoRoomError` if `size` more bytes would not leave the reserve on the disk."""
        found = os.statvfs(self.directory if self.directory.exists() else self.directory.parent)
        free = found.f_bavail * found.f_frsize
        if free < size + self._reserve:
            raise NoRoomError(
                f"the disk of the state directory has {free} bytes left, of which "
                f"{self._reserve} stay free: `{self.directory}`; hint: make room, or change "
                "`VERVE_ARCHIVE_RESERVE`"
            )

    def _check_room(self, size: int) -> None:
        used = self.usage()[1]
        if used + size > self._most:
            raise NoRoomError(
                f"the spool uses {used} of {self._most} bytes: `{self.directory}`; hint: see why "
                "the archive takes no windows, or raise `VERVE_ARCHIVE_SPOOL_MAX`"
            )
        # The writer needs as much for the sorted file, and a folder for its copy.
        self.check_reserve(3 * size)

    def _make(self) -> None:
        directories.make(self.directory)

    def _paths(self) -> list[Path]:
        try:
            return sorted(self.directory.iterdir())
        except OSError:
            return []
