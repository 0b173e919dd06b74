"""Checksums that cover every byte of a Parquet file; Parquet's own have gaps.

Parquet has checksums of pages, but none of their headers and of its footer. So a block lies between
the data and the footer, where no reader of Parquet looks:

    data, checksum of each column chunk, checksum of footer and end, number of chunks,
    checksum of the block, magic, footer, length of the footer, "PAR1"

The chunks fill the file from its fifth byte up to the block. The checksum of the first one covers
the four bytes before it, too. All numbers are little-endian.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

from verve.archive.errors import DamagedFileError

PARQUET = b"PAR1"
_MAGIC = b"VRVC"
_END = struct.Struct("<I4s")
_TAIL = struct.Struct("<III4s")
CHUNK = struct.Struct("<I")
TAIL_BYTES = _TAIL.size + _END.size


class Footer(NamedTuple):
    """The footer of a file, and the checksums of the column chunks before `data_end`."""

    footer: bytes
    checksums: tuple[int, ...]
    data_end: int


def needed(end: bytes, name: str) -> int:
    """How many bytes the end of a file takes, with footer and block, as far as `end` shows it."""
    if len(end) < _END.size + len(PARQUET):
        raise DamagedFileError("a file of ids is cut off", name)
    length, magic = _END.unpack(end[-_END.size :])
    if magic != PARQUET:
        raise DamagedFileError("the archive has a file that is no whole Parquet file", name)
    base = int(length) + TAIL_BYTES
    if len(end) < base:
        return base
    tail = end[len(end) - base : len(end) - base + _TAIL.size]
    _, count, _, magic = _TAIL.unpack(tail)
    if magic != _MAGIC:
        raise DamagedFileError("the archive has a file that Verve did not write", name)
    return base + int(count) * CHUNK.size


def covered(offset: int, length: int) -> tuple[int, int]:
    """The range that the checksum of a column chunk covers."""
    start = 0 if offset == len(PARQUET) else offset
    return start, offset + length - start


def block(checksums: list[int], footer: bytes) -> bytes:
    """What stands between the data and `footer`."""
    end = _END.pack(len(footer), PARQUET)
    packed = struct.pack(f"<{len(checksums)}I", *checksums)
    packed += struct.pack("<II", zlib.crc32(footer + end), len(checksums))
    return packed + struct.pack("<I4s", zlib.crc32(packed), _MAGIC)


def read(end: bytes, size: int, name: str) -> Footer:
    """Check the last `needed` bytes of a file of `size` bytes."""
    wanted = needed(end, name)
    if wanted > size or wanted > len(end):
        raise DamagedFileError("a file of ids is cut off", name)
    end = end[len(end) - wanted :]
    (length, _) = _END.unpack(end[-_END.size :])
    footer_start = len(end) - _END.size - length
    _, count, checksum, _ = _TAIL.unpack(end[footer_start - _TAIL.size : footer_start])
    packed = end[: footer_start - 8]
    footer = end[footer_start : footer_start + length]
    (footer_checksum,) = CHUNK.unpack(packed[-8:-4])
    if zlib.crc32(packed) != checksum or zlib.crc32(end[footer_start:]) != footer_checksum:
        raise DamagedFileError("a file of ids is damaged", name)
    checksums = struct.unpack(f"<{count}I", packed[: count * CHUNK.size])
    return Footer(footer, checksums, size - wanted)
