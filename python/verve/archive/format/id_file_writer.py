"""Writes a file of ids to the local disk, piece by piece, and verifies it.

A store puts the finished file in place. pyarrow would finish a half-written file when its stream is
interrupted, so it never writes to a store itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import zlib
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from verve.archive.errors import ArchiveError

from . import checks
from .head import Contents, Head
from .id_file import IdFile, chunk_range

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

ROW_GROUP = 2**16
"""Ids of a row group."""
_PART_TYPES = {"minutes": pa.int64(), "hours": pa.int32()}


class IdFileWriter:
    """Takes ids in ascending order without repeats. `close` completes the file at `path`.

    As a context it closes the file, or removes it after an error.
    """

    def __init__(self, path: Path, head: Head) -> None:
        self.path = path
        self.head = head
        self._parts = head.file.level.parts
        fields = [pa.field("id", pa.int64(), nullable=False)]
        if self._parts:
            fields.append(pa.field(self._parts, _PART_TYPES[self._parts], nullable=False))
        self._schema = pa.schema(fields)
        self._digest = hashlib.blake2b(digest_size=16)
        self._rows = 0
        self._last: int | None = None
        self._waiting: list[tuple[NDArray[np.int64], ...]] = []
        self._waiting_rows = 0
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._file = os.fdopen(descriptor, "w+b")
        # Ids do not repeat; their parts do.
        dictionary: Any = [self._parts] if self._parts else False
        self._writer = pq.ParquetWriter(
            self._file,
            self._schema,
            compression="none",
            use_dictionary=dictionary,
            column_encoding={"id": "DELTA_BINARY_PACKED"},
            write_statistics=True,
            write_page_checksum=True,
            store_schema=False,
            sorting_columns=[pq.SortingColumn(0)],
        )

    def append(self, ids: NDArray[np.int64], parts: NDArray[np.int64] | None = None) -> None:
        """Add ids, of a roll-up with their parts. Raises `ArchiveError` if they do not ascend."""
        if not len(ids):
            return
        ascends = bool((ids[1:] > ids[:-1]).all())
        if not ascends or (self._last is not None and self._last >= ids[0]):
            raise ArchiveError(f"ids are not sorted, or repeat: `{self.path}`")
        self._last = int(ids[-1])
        columns = (ids,) if parts is None else (ids, parts)
        position = 0
        while position < len(ids):
            taken = min(len(ids) - position, ROW_GROUP - self._waiting_rows)
            self._waiting.append(tuple(one[position : position + taken] for one in columns))
            self._waiting_rows += taken
            position += taken
            if self._waiting_rows == ROW_GROUP:
                self._write_group()

    def _write_group(self) -> None:
        columns = [np.concatenate(column) for column in zip(*self._waiting, strict=True)]
        self._digest.update(columns[0].astype("<i8", copy=False).tobytes())
        self._rows += len(columns[0])
        arrays = [
            pa.array(column.astype(field.type.to_pandas_dtype(), copy=False))
            for column, field in zip(columns, self._schema, strict=True)
        ]
        table = pa.Table.from_arrays(arrays, schema=self._schema)
        self._writer.write_table(table, row_group_size=ROW_GROUP)
        self._waiting, self._waiting_rows = [], 0

    def close(self) -> Contents:
        """Complete, verify and sync the file."""
        if self._waiting_rows:
            self._write_group()
        contents = Contents(self._rows, self._digest.hexdigest())
        self._writer.add_key_value_metadata(self.head.metadata(contents))
        self._writer.close()
        self._file.flush()
        _add_checks(self._file)
        os.fsync(self._file.fileno())
        self._verify(contents)
        self._file.close()
        return contents

    def _verify(self, contents: Contents) -> None:
        descriptor = self._file.fileno()

        def read(ranges: Sequence[tuple[int, int]]) -> list[bytes]:
            return [os.pread(descriptor, length, offset) for offset, length in ranges]

        written = IdFile.open(self.head.file, os.fstat(descriptor).st_size, read)
        written.verify(read)
        if (written.head, written.contents) != (self.head, contents):
            raise ArchiveError(f"a file of ids is not what was written: `{self.path}`")

    def abandon(self) -> None:
        """Remove what was written."""
        with contextlib.suppress(Exception):
            self._writer.close()
        self._file.close()
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.abandon()
            return
        try:
            self.close()
        except BaseException:
            self.abandon()
            raise


def write(path: Path, head: Head, ids: NDArray[np.int64]) -> Contents:
    """Write the ids of a window, sorted and without repeats. Nothing is left after an error."""
    writer = IdFileWriter(path, head)
    try:
        writer.append(ids)
        return writer.close()
    except BaseException:
        writer.abandon()
        raise


def _add_checks(file: Any) -> None:  # noqa: ANN401 - a file for bytes, opened to read and write
    """Put the checksums of all bytes between the data and the footer of a finished file."""
    metadata = pq.read_metadata(pa.PythonFile(file, mode="r"))
    size = file.seek(0, os.SEEK_END)
    footer_start = size - metadata.serialized_size - 8
    checksums = []
    for i in range(metadata.num_row_groups):
        group = metadata.row_group(i)
        for j in range(metadata.num_columns):
            offset, length = checks.covered(*chunk_range(group.column(j)))
            file.seek(offset)
            checksums.append(zlib.crc32(file.read(length)))
    file.seek(footer_start)
    footer = file.read(metadata.serialized_size)
    file.seek(footer_start)
    file.truncate()
    end = len(footer).to_bytes(4, "little") + checks.PARQUET
    file.write(checks.block(checksums, footer) + footer + end)
    file.flush()
