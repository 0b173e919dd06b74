"""A file of the spool: the ids of one closed window, or why there are none.

    head: magic, version, length of the text, the text in JSON, checksum of all before
    ids:  8 bytes each, little-endian, in no order
    tail: checksum of the ids, magic

The file is written under another name, and renamed once it is on the disk.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import zlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Self

from verve import directories
from verve.archive.errors import ArchiveError, DamagedFileError
from verve.archive.format.manifest import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

VERSION = 1
ID_BYTES = 8
PIECE_BYTES = 1 << 21
_MAGIC = b"VERVEARC"
_END = b"VERVEEND"
_PREFIX = struct.Struct("<8sII")
_CHECKSUM = struct.Struct("<I")
_TAIL = struct.Struct("<I8s")
_LARGEST_TEXT = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolHead:
    """The head of a file of the spool. `count` is the number of its ids.

    `segment` is the identity of the segment that counted the window. `reason` says why ids are
    missing.
    """

    window_start: int
    window_seconds: int
    segment: str
    host: str
    cluster: str
    count: int
    state: State
    reason: str | None = None

    def pack(self) -> bytes:
        """The head of the file."""
        text = json.dumps(asdict(self)).encode()
        head = _PREFIX.pack(_MAGIC, VERSION, len(text)) + text
        return head + _CHECKSUM.pack(zlib.crc32(head))


def bytes_of(count: int) -> int:
    """About the bytes that a file of `count` ids takes, rounded up."""
    return 1024 + count * ID_BYTES


def write(path: Path, head: SpoolHead, pieces: Iterable[bytes], token: str) -> None:
    """Write a file. When it returns, the file survives a loss of power.

    `token` names this attempt: an earlier leader may still be writing the same file. Raises
    `OSError` and what `pieces` raises, and leaves nothing behind then.
    """
    under = path.with_name(f"{path.name}.{token}.part")
    try:
        descriptor = os.open(under, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(head.pack())
            checksum, length = 0, 0
            for piece in pieces:
                file.write(piece)
                checksum, length = zlib.crc32(piece, checksum), length + len(piece)
            file.write(_TAIL.pack(checksum, _END))
            file.flush()
            os.fsync(file.fileno())
        _check_length(head, length, path)
        # Again, since the disk may have taken long.
        if has(path, head):
            under.unlink()
            return
        under.rename(path)
        directories.sync(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            under.unlink()
        raise


def has(path: Path, head: SpoolHead) -> bool:
    """Whether the file at `path` has as much of this window: all of it, or no ids are to come."""
    try:
        found = SpoolFile.open(path).head
    except (OSError, ArchiveError):
        # The ids replace it; what says that there are none does not: it may still be read.
        return not head.state.is_whole and path.exists()
    return (found.state.is_whole and found.count >= head.count) or not head.state.is_whole


def _check_length(head: SpoolHead, length: int, path: Path) -> None:
    if length != head.count * ID_BYTES:
        found = length // ID_BYTES
        raise DamagedFileError(f"of {head.count} ids {found} could be read", str(path))


class SpoolFile:
    """A file of the spool, whose head is checked; `pieces` checks the ids."""

    def __init__(self, path: Path, head: SpoolHead, offset: int) -> None:
        self.path = path
        self.head = head
        self.offset = offset
        """Where the ids begin."""

    @classmethod
    def open(cls, path: Path) -> Self:
        """The file at `path`. Raises `OSError`, `DamagedFileError` and `ArchiveError`."""
        with path.open("rb") as file:
            prefix = file.read(_PREFIX.size)
            if len(prefix) < _PREFIX.size:
                raise DamagedFileError("a file of the spool ends within its head", str(path))
            magic, version, length = _PREFIX.unpack(prefix)
            if magic != _MAGIC or length > _LARGEST_TEXT:
                raise DamagedFileError("a file of the spool has a damaged head", str(path))
            text, checksum = file.read(length), file.read(_CHECKSUM.size)
            size = os.fstat(file.fileno()).st_size
        if checksum != _CHECKSUM.pack(zlib.crc32(prefix + text)):
            raise DamagedFileError("a file of the spool has a damaged head", str(path))
        if version != VERSION:
            raise ArchiveError(
                f"a newer Verve wrote a file of the spool, in version {version}: `{path}`; "
                "hint: pip install --upgrade verve-counter"
            )
        try:
            values = json.loads(text)
            head = SpoolHead(**{**values, "state": State(values["state"])})
        except (ValueError, TypeError, KeyError) as error:
            raise DamagedFileError("a file of the spool makes no sense", str(path)) from error
        offset = _PREFIX.size + length + _CHECKSUM.size
        if size != offset + head.count * ID_BYTES + _TAIL.size:
            raise DamagedFileError("a file of the spool has another length", str(path))
        return cls(path, head, offset)

    def pieces(self) -> Iterator[bytes]:
        """The ids, a few megabytes at a time; the last piece only if all were sound.

        Raises `OSError` and `DamagedFileError`.
        """
        left, checksum = self.head.count * ID_BYTES, 0
        with self.path.open("rb") as file:
            file.seek(self.offset)
            while left:
                piece = file.read(min(left, PIECE_BYTES))
                left -= len(piece)
                checksum = zlib.crc32(piece, checksum)
                if not piece or (not left and file.read() != _TAIL.pack(checksum, _END)):
                    raise DamagedFileError("a file of the spool is damaged", str(self.path))
                yield piece
