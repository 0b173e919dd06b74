"""The archive in a folder of the local disk."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from verve import directories
from verve.archive.errors import GoneError, StoreError

from .base import StoredFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_UNFINISHED = ".part"


class FolderStore:
    """A folder. A file is written beside its place, synced and renamed; only its owner reads it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def url(self) -> str:
        """The path of the folder."""
        return str(self.root)

    def list(self, prefix: str, check: Callable[[], object] | None = None) -> list[StoredFile]:
        """See `ArchiveStore`. Files that are being written are left out."""
        found = []
        with self._mapped(prefix):
            for folder, _, names in os.walk(self.root / prefix, onerror=_raise_unless_gone):
                if check is not None:
                    check()
                below = Path(folder).relative_to(self.root).as_posix()
                for name in names:
                    if _is_unfinished(name):
                        continue
                    with contextlib.suppress(FileNotFoundError):
                        size = os.stat(f"{folder}/{name}").st_size  # noqa: PTH116 - many files
                        found.append(StoredFile(f"{below}/{name}", size))
        return sorted(found)

    def get(self, name: str) -> bytes:
        """See `ArchiveStore`."""
        with self._mapped(name):
            return (self.root / name).read_bytes()

    def get_ranges(self, name: str, ranges: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        """See `ArchiveStore`."""
        with self._mapped(name), (self.root / name).open("rb", buffering=0) as file:
            descriptor = file.fileno()
            return [os.pread(descriptor, length, offset) for offset, length in ranges]

    def put(self, name: str, data: bytes | Path) -> None:
        """See `ArchiveStore`. Files get the mode 0600, and folders 0700."""
        place = self.root / name
        under = place.with_name(f".{uuid.uuid4().hex}{_UNFINISHED}")
        with self._mapped(name):
            self._make(place.parent)
            try:
                descriptor = os.open(under, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "wb") as file:
                    if isinstance(data, bytes):
                        file.write(data)
                    else:
                        with data.open("rb") as source:
                            shutil.copyfileobj(source, file, 2**20)
                    file.flush()
                    os.fsync(file.fileno())
                under.rename(place)
            except BaseException:
                under.unlink(missing_ok=True)
                raise
            directories.sync(place.parent)

    def delete(self, name: str) -> None:
        """See `ArchiveStore`. Folders that are empty then go, too."""
        place = self.root / name
        with self._mapped(name):
            try:
                place.unlink()
            except FileNotFoundError:
                return
            directories.sync(place.parent)
        for folder in place.relative_to(self.root).parents:
            # One that is not empty stays, and so does the root.
            try:
                if folder != Path():
                    (self.root / folder).rmdir()
            except OSError:
                return

    def remove_unfinished(self, age: float) -> None:
        """Remove unfinished files of killed writers that are older than `age` seconds."""
        for path in self.unfinished():
            # Another host may do the same, or own the file.
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < time.time() - age:
                    path.unlink()

    def unfinished(self) -> Iterator[Path]:
        """The files that are being written, or that killed writers did not finish."""
        for folder, _, names in os.walk(self.root):
            for name in names:
                if _is_unfinished(name):
                    yield Path(folder) / name

    def _make(self, folder: Path) -> None:
        """Make a folder and those above it, so that they survive."""
        missing = []
        while not folder.is_dir():
            missing.append(folder)
            folder = folder.parent
        for one in reversed(missing):
            one.mkdir(mode=0o700, exist_ok=True)
            directories.sync(one.parent)

    @contextlib.contextmanager
    def _mapped(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise GoneError(f"a file of the archive is not there: `{name}`") from error
        except OSError as error:
            raise StoreError(
                f"the archive cannot be used: {error.strerror or error}: `{self.root / name}`; "
                "hint: see that the folder belongs to the user of the service and has room"
            ) from error


def _is_unfinished(name: str) -> bool:
    return name.startswith(".") and name.endswith(_UNFINISHED)


def _raise_unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error
