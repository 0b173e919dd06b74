"""The file of a spill: the ids of one frozen window, in blocks with checksums.

    head:   magic, version, length of the window, its start, count, identity of the host, checksum
    blocks: shard, count, checksum of both and the ids, then the ids, 8 bytes each
    tail:   magic, count, checksum of all blocks' checksums

The head is the same in all versions, so that each tells a newer spill from a damaged one. All
numbers are little-endian. The file is written under another name, and renamed once it is on the
disk.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Self

from verve import directories
from verve._verve import SHARDS, VerveError

from .arena_ids import PIECE, GoneError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from .arena_ids import Ids

VERSION = 1
ID_BYTES = 8
_MAGIC = b"VERVEIDS"
_END = b"VERVEEND"
_HEAD = struct.Struct("<8sIIqQ16s")
_CHECKSUM = struct.Struct("<I")
_BLOCK = struct.Struct("<II")
_TAIL = struct.Struct("<8sQI")
HEAD_BYTES = _HEAD.size + _CHECKSUM.size
_BLOCK_BYTES = _BLOCK.size + _CHECKSUM.size


class DamagedError(VerveError):
    """A spill is not as it was written; `path` is its file."""

    def __init__(self, message: str, path: Path) -> None:
        super().__init__(f"{message}: `{path}`")
        self.path = path


class NewerError(VerveError):
    """A spill is of a version that this Verve cannot read."""

    def __init__(self, version: int, path: Path) -> None:
        super().__init__(
            f"a newer Verve wrote the spill, in version {version}: `{path}`; hint: within a day, "
            "start the newer release again, it sends the ids: "
            "`pip install --upgrade verve-counter`"
        )


@dataclass(frozen=True, slots=True)
class SpillHead:
    """The window, the host and the number of ids of a spill."""

    window_start: int
    window_seconds: int
    count: int
    identity: str

    def pack(self) -> bytes:
        """The head of the file."""
        head = _HEAD.pack(
            _MAGIC,
            VERSION,
            self.window_seconds,
            self.window_start,
            self.count,
            self.identity.encode(),
        )
        return head + _CHECKSUM.pack(zlib.crc32(head))


def bytes_of(count: int) -> int:
    """The most bytes that a spill of `count` ids takes on the disk."""
    # Each piece has at most one block per shard, and no block is empty.
    blocks = min(count, SHARDS * (count // PIECE + 1))
    return HEAD_BYTES + count * ID_BYTES + blocks * _BLOCK_BYTES + _TAIL.size


def write(path: Path, head: SpillHead, ids: Ids, writer: str = "") -> None:
    """Write a spill. When it returns, the file survives a loss of power.

    `writer` names this attempt: an earlier leader may still be writing the same spill, in this
    process too. Raises `OSError` and `GoneError`, and leaves nothing behind then.
    """
    under = path.with_name(f"{path.name}.{writer}.part")
    try:
        descriptor = os.open(under, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(head.pack())
            sums, count = _write_blocks(file, ids)
            file.write(_TAIL.pack(_END, count, sums))
            file.flush()
            os.fsync(file.fileno())
        _check_count(head, count, path)
        under.rename(path)
        directories.sync(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            under.unlink()
        raise


def _write_blocks(file: IO[bytes], ids: Ids) -> tuple[int, int]:
    """Write all ids; the checksum of the checksums, and the number of ids."""
    sums, count = 0, 0
    position: int | None = 0
    while position is not None:
        groups, position = ids.read(position)
        for shard, members in groups.items():
            block = _BLOCK.pack(shard, len(members))
            body = b"".join(members)
            checksum = _CHECKSUM.pack(zlib.crc32(body, zlib.crc32(block)))
            file.write(block + checksum)
            file.write(body)
            sums, count = zlib.crc32(checksum, sums), count + len(members)
    return sums, count


def _check_count(head: SpillHead, count: int, path: Path) -> None:
    if count != head.count:
        raise DamagedError(f"of {head.count} ids {count} could be read", path)


class SpilledIds:
    """The ids of a spill, checked as they are read."""

    def __init__(self, path: Path, head: SpillHead) -> None:
        self.path = path
        self.head = head
        # By position: the ids before it, and the checksum of their checksums.
        self._before: dict[int, tuple[int, int]] = {HEAD_BYTES: (0, 0)}

    @classmethod
    def open(cls, path: Path) -> Self:
        """The spill at `path`. Raises `OSError`, `DamagedError` and `NewerError`."""
        with path.open("rb") as file:
            found = file.read(HEAD_BYTES)
        if len(found) < HEAD_BYTES:
            raise DamagedError("a spill ends within its head", path)
        body, [checksum] = found[: _HEAD.size], _CHECKSUM.unpack(found[_HEAD.size :])
        magic, version, seconds, start, count, identity = _HEAD.unpack(body)
        if magic != _MAGIC or zlib.crc32(body) != checksum:
            raise DamagedError("a spill has a damaged head", path)
        if version != VERSION:
            raise NewerError(version, path)
        name = identity.rstrip(b"\0")
        if not name.isalnum() or seconds == 0 or start < 0:
            raise DamagedError("a spill has a head that makes no sense", path)
        return cls(path, SpillHead(start, seconds, count, name.decode("ascii")))

    @property
    def count(self) -> int:
        """The number of ids."""
        return self.head.count

    def read(self, position: int) -> tuple[Mapping[int, Sequence[bytes]], int | None]:
        """See `Ids`. Raises `OSError`, `DamagedError`, and `GoneError` if the file was removed."""
        try:
            return self._read(position or HEAD_BYTES)
        except FileNotFoundError:
            raise GoneError(f"a spill was removed: `{self.path}`") from None

    def _read(self, position: int) -> tuple[Mapping[int, Sequence[bytes]], int | None]:
        """As `read`, by the position in the file."""
        before, sums = self._before[position]
        groups: dict[int, list[bytes]] = {}
        count = 0
        with self.path.open("rb") as file:
            file.seek(position)
            while count < PIECE:
                start = file.read(_TAIL.size)
                if start.startswith(_END):
                    if start != _TAIL.pack(_END, before + count, sums) or file.read(1):
                        raise DamagedError("a spill has a damaged end", self.path)
                    if before + count != self.head.count:
                        raise DamagedError("a spill is not complete", self.path)
                    return groups, None
                file.seek(position)
                shard, members, checksum = self._block(file.read(_BLOCK_BYTES), file.read)
                groups.setdefault(shard, []).extend(members)
                count += len(members)
                position = file.tell()
                sums = zlib.crc32(checksum, sums)
        self._before[position] = before + count, sums
        return groups, position

    def _block(self, start: bytes, read: Callable[[int], bytes]) -> tuple[int, list[bytes], bytes]:
        if len(start) < _BLOCK_BYTES:
            raise DamagedError("a spill ends early", self.path)
        block, checksum = start[: _BLOCK.size], start[_BLOCK.size :]
        shard, count = _BLOCK.unpack(block)
        # A damaged count must not make this read a block of gigabytes.
        if shard >= SHARDS or count > self.head.count:
            raise DamagedError("a spill has a damaged block", self.path)
        body = read(count * ID_BYTES)
        if _CHECKSUM.pack(zlib.crc32(body, zlib.crc32(block))) != checksum:
            raise DamagedError("a spill has a damaged block", self.path)
        ids = [body[at : at + ID_BYTES] for at in range(0, len(body), ID_BYTES)]
        return shard, ids, checksum
