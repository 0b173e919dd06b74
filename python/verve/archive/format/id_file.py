"""Reads a file of ids: a Parquet file whose column `id` is sorted and has no repeats.

Every byte that is used is checked first (`checks`), and what is decoded is compared with what the
footer promises. So a damaged or foreign file is an error that names it, and never a wrong count.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from verve.archive.errors import DamagedFileError

from . import checks
from .head import Contents, Head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from .layout import FileName

    ReadRanges = Callable[[Sequence[tuple[int, int]]], Sequence[bytes]]
    """Reads ranges (offset, length) of one file."""

END_BYTES = 2**16
"""What is read of a file's end at first: the footer, unless it is large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowGroup:
    """A row group: its ids are `low` to `high`. A chunk is offset, length and checksum."""

    rows: int
    low: int
    high: int
    chunks: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class IdFile:
    """An open file of ids: its head, and its row groups in ascending order of ids."""

    head: Head
    contents: Contents
    groups: tuple[RowGroup, ...]
    footer: bytes
    size: int

    @property
    def name(self) -> str:
        """The name below the archive's root."""
        return self.head.file.name

    @classmethod
    def open(cls, file: FileName, size: int, read: ReadRanges) -> Self:
        """Read the footer. Raises `DamagedFileError` and what `read` raises."""
        name = file.name
        end = _end(size, END_BYTES, read, name)
        if (wanted := checks.needed(end, name)) > len(end):
            end = _end(size, wanted, read, name)
            # The block before the footer says itself how large it is.
            if (whole := checks.needed(end, name)) > len(end):
                end = _end(size, whole, read, name)
        found = checks.read(end, size, name)
        if found.data_end == len(checks.PARQUET):
            # No column chunk, whose checksum would cover the first bytes.
            (begin,) = read([(0, found.data_end)])
            if begin != checks.PARQUET:
                raise DamagedFileError("a file of ids is damaged", name)
        metadata = _parsed(found.footer, name)
        texts = {key.decode(): value.decode() for key, value in (metadata.metadata or {}).items()}
        head, contents = Head.read(texts, name)
        groups = tuple(_groups(metadata, found, head, name))
        if sum(group.rows for group in groups) != contents.rows:
            raise DamagedFileError("a file of ids has another number of rows than it says", name)
        if any(one.high >= two.low for one, two in itertools.pairwise(groups)):
            raise DamagedFileError("a file of ids is not sorted", name)
        return cls(head=head, contents=contents, groups=groups, footer=found.footer, size=size)

    def between(self, low: int, high: int) -> slice:
        """The row groups that may have ids from `low` to `high`, both inclusive."""
        inside = [i for i, one in enumerate(self.groups) if one.high >= low and one.low <= high]
        return slice(inside[0], inside[-1] + 1) if inside else slice(0, 0)

    def ids(self, groups: slice, read: ReadRanges) -> NDArray[np.int64]:
        """The ids of these row groups, sorted."""
        return self._columns(groups, read, 1)[0]

    def ids_and_parts(
        self, groups: slice, read: ReadRanges
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The ids of a roll-up, and the bits that say in which parts of its span each was."""
        ids, parts = self._columns(groups, read, 2)
        return ids, parts.astype(np.int64, copy=False)

    def _columns(self, groups: slice, read: ReadRanges, count: int) -> list[NDArray[Any]]:
        wanted = range(*groups.indices(len(self.groups)))
        if not wanted:
            return [np.empty(0, dtype=np.int64)] * count
        pieces = self._checked(wanted, read, count)
        source = _Pieces(pieces)
        names = ["id", self.head.file.level.parts][:count]
        try:
            file = pq.ParquetFile(
                pa.PythonFile(source, mode="r"),
                metadata=_parsed(self.footer, self.name),
                pre_buffer=False,
            )
            table = file.read_row_groups(list(wanted), columns=names, use_threads=False)
            found = [table.column(name).to_numpy() for name in names]
        except pa.ArrowMemoryError:
            raise
        except (pa.ArrowException, OSError) as error:
            raise DamagedFileError("a file of ids cannot be decoded", self.name) from error
        self._check(found[0], wanted)
        return found

    def check(self, read: ReadRanges) -> None:
        """Compare all bytes with their checksums, and decode none. Raises `DamagedFileError`."""
        for i in range(len(self.groups)):
            self._checked(range(i, i + 1), read, len(self.groups[i].chunks))

    def _checked(self, wanted: range, read: ReadRanges, count: int) -> dict[int, bytes]:
        """The column chunks of row groups by their offsets, once their checksums are compared."""
        chunks = [chunk for i in wanted for chunk in self.groups[i].chunks[:count]]
        bodies = read([checks.covered(offset, length) for offset, length, _ in chunks])
        pieces = {}
        for (offset, length, checksum), body in zip(chunks, bodies, strict=True):
            if zlib.crc32(body) != checksum:
                raise DamagedFileError("a file of ids is damaged", self.name)
            pieces[offset] = body[len(body) - length :]
        return pieces

    def _check(self, ids: NDArray[np.int64], wanted: range) -> None:
        """Compare what was decoded with what the footer promises."""
        position = 0
        for i in wanted:
            group = self.groups[i]
            last = position + group.rows - 1
            if last >= len(ids) or (ids[position], ids[last]) != (group.low, group.high):
                raise DamagedFileError("a file of ids has other ids than it says", self.name)
            position = last + 1
        if position != len(ids):
            raise DamagedFileError("a file of ids has more rows than it says", self.name)

    def verify(self, read: ReadRanges) -> None:
        """Read all of it. Raises `DamagedFileError` unless it is as its writer meant it."""
        digest = hashlib.blake2b(digest_size=16)
        before: int | None = None
        for i in range(len(self.groups)):
            columns = len(self.groups[i].chunks)
            found = self._columns(slice(i, i + 1), read, columns)
            ids = found[0]
            ascends = bool((ids[1:] > ids[:-1]).all()) and (before is None or before < ids[0])
            if not ascends or (columns > 1 and not found[1].all()):
                raise DamagedFileError("a file of ids is not sorted, or has repeats", self.name)
            before = int(ids[-1])
            digest.update(ids.astype("<i8", copy=False).tobytes())
        if digest.hexdigest() != self.contents.digest:
            raise DamagedFileError("a file of ids has other ids than it says", self.name)


class _Pieces(io.RawIOBase):
    """A file of which only some pieces are here; a read is of one piece or of its beginning."""

    def __init__(self, pieces: dict[int, bytes]) -> None:
        super().__init__()
        self._pieces = pieces
        self._size = max(offset + len(body) for offset, body in pieces.items())
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        body = self._pieces.get(self._position)
        if body is None or not 0 <= size <= len(body):
            raise OSError(f"{size} bytes at {self._position} are not here")
        self._position += size
        return body if size == len(body) else body[:size]


def _end(size: int, wanted: int, read: ReadRanges, name: str) -> bytes:
    length = min(size, wanted)
    if length < checks.TAIL_BYTES:
        raise DamagedFileError("a file of ids is cut off", name)
    (end,) = read([(size - length, length)])
    if len(end) != length:
        raise DamagedFileError("a file of ids is cut off", name)
    return bytes(end)


def _parsed(footer: bytes, name: str) -> Any:  # noqa: ANN401 - pyarrow has no annotations
    """The metadata of a footer alone, which offsets in a file need not agree with."""
    end = len(footer).to_bytes(4, "little") + checks.PARQUET
    try:
        return pq.read_metadata(pa.BufferReader(checks.PARQUET + footer + end))
    except pa.ArrowMemoryError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise DamagedFileError("a file of ids has a footer that makes no sense", name) from error


def _groups(
    metadata: Any,  # noqa: ANN401 - pyarrow has no annotations
    found: checks.Footer,
    head: Head,
    name: str,
) -> Iterator[RowGroup]:
    parts = head.file.level.parts
    names = ["id", parts] if parts else ["id"]
    columns = map(metadata.schema.column, range(metadata.num_columns))
    if [column.name for column in columns] != names:
        raise DamagedFileError("a file of ids has other columns", name)
    if len(found.checksums) != metadata.num_row_groups * len(names):
        raise DamagedFileError("a file of ids has other row groups than it says", name)
    checksums = iter(found.checksums)
    position = len(checks.PARQUET)
    for i in range(metadata.num_row_groups):
        group = metadata.row_group(i)
        chunks = []
        for j in range(len(names)):
            offset, length = chunk_range(group.column(j))
            if offset != position:
                raise DamagedFileError("a file of ids has a gap", name)
            chunks.append((offset, length, next(checksums)))
            position += length
        bounds = group.column(0).statistics
        if group.num_rows == 0 or bounds is None or not bounds.has_min_max:
            raise DamagedFileError("a file of ids has a row group without statistics", name)
        yield RowGroup(rows=group.num_rows, low=bounds.min, high=bounds.max, chunks=tuple(chunks))
    if position != found.data_end:
        raise DamagedFileError("a file of ids has a gap", name)


def chunk_range(column: Any) -> tuple[int, int]:  # noqa: ANN401 - pyarrow has no annotations
    """The offset and the length of a column chunk."""
    start = column.data_page_offset
    if column.dictionary_page_offset is not None:
        start = min(start, column.dictionary_page_offset)
    return start, column.total_compressed_size
