"""Puts windows of the spool into the archive: their files first, then the manifest of their hour.

A window leaves the spool only after that. So a writer that is killed anywhere does it all again,
under the same names.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from verve.archive.errors import DamagedFileError, GoneError
from verve.archive.format.head import Head
from verve.archive.format.id_file import IdFile
from verve.archive.format.id_file_writer import IdFileWriter
from verve.archive.format.layout import (
    FileName,
    folder_of,
    parsed,
    tombstone_folder,
    tombstone_id,
)
from verve.archive.format.levels import Level, hour_of
from verve.archive.format.manifest import Manifest, WindowEntry
from verve.archive.spool.spool import DAMAGED
from verve.archive.upkeep.forgetting import rewrite

from .sorting import sorted_ids

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from verve.archive.spool.spool import Spool
    from verve.archive.spool.spool_file import SpoolFile, SpoolHead
    from verve.archive.store import ArchiveStore

BUILDING = ".building"
"""The end of the name of a file that is not finished."""


@dataclass(frozen=True, slots=True)
class Hour:
    """The windows of one segment that start in one hour, and their host."""

    cluster: str
    host: str
    segment: str
    start: int

    @classmethod
    def of(cls, head: SpoolHead) -> Hour:
        """The hour of a window."""
        return cls(head.cluster, head.host, head.segment, hour_of(head.window_start))


@dataclass(frozen=True, slots=True)
class WindowWriter:
    """Writes to one archive. `memory` bounds the bytes for ids; `in_cluster`: other hosts count.

    Methods raise `StoreError`, `OSError` and `NoRoomError`, and may then be called again.
    """

    store: ArchiveStore
    spool: Spool
    memory: int
    in_cluster: bool
    shares_disk: bool
    """Whether the archive is a folder on the disk of the spool."""
    set_aside: Callable[[Path, Exception], None]
    """Is told of a damaged file and its new place."""

    def put(self, file: SpoolFile) -> WindowEntry:
        """Put the file of a window in its place; what the manifest is to say of it."""
        head = file.head
        entry = WindowEntry(
            start=head.window_start,
            length=head.window_seconds,
            state=head.state,
            reason=head.reason,
            final=not self.in_cluster,
        )
        if not head.state.is_whole:
            return entry
        name = _name(head)
        path = file.path.with_name(f"{file.path.name}{BUILDING}")
        copies = 2 if self.shares_disk else 1
        self.spool.check_reserve(copies * (8 * head.count + 4096))
        writer = IdFileWriter(path, Head(file=name, host=head.host))
        try:
            if head.count:
                for ids in sorted_ids(file, self.memory):
                    writer.append(ids)
            contents = writer.close()
            self.store.put(name.name, path)
        except BaseException:
            writer.abandon()
            raise
        path.unlink()
        return replace(
            entry,
            rows=contents.rows,
            digest=contents.digest,
            file=name.name.rpartition("/")[2],
        )

    def forget(self, cluster: str, files: Iterable[SpoolFile]) -> None:
        """Remove forgotten ids from windows that were put: an order may be older than their files.

        Called after `put`, so that either this sees the tombstone, or who wrote it sees the file.
        """
        known: list[int] = []
        for one in self.store.list(tombstone_folder(cluster)):
            # A file of another kind is for whoever reads the archive to complain of.
            with contextlib.suppress(DamagedFileError):
                known.append(tombstone_id(one.name))
        if not known:
            return
        forgotten = np.array(known, dtype=np.int64)
        for file in files:
            head = file.head
            if head.state.is_whole and (ids := _among(file, forgotten)):
                rewrite(self.store, _name(head), ids, self.spool.directory)

    def note(self, hour: Hour, entries: Iterable[WindowEntry]) -> None:
        """Enter windows into the manifest of their hour."""
        found = self._manifest(hour)
        for entry in entries:
            known = _entry(found, entry.start, entry.length)
            if known is None:
                found = found.with_window(entry)
            elif entry.state.is_whole or not known.state.is_whole:
                found = found.with_window(
                    replace(
                        entry,
                        hosts=known.hosts,
                        cluster_count=known.cluster_count,
                        final=known.final,
                    )
                )
        self.store.put(found.name, found.to_json())

    def note_cluster(self, hour: Hour, start: int, length: int, values: dict[str, Any]) -> bool:
        """Enter what the cluster says of a window; whether the manifest has that window."""
        found = self._manifest(hour)
        entry = _entry(found, start, length)
        if entry is None:
            return False
        told = replace(
            entry,
            hosts=tuple(values["hosts"]),
            cluster_count=values["cluster_count"],
            final=values["final"],
        )
        if told != entry:
            found = found.with_window(told)
            self.store.put(found.name, found.to_json())
        return True

    def _manifest(self, hour: Hour) -> Manifest:
        new = Manifest(cluster=hour.cluster, host=hour.host, segment=hour.segment, hour=hour.start)
        try:
            data = self.store.get(new.name)
        except GoneError:
            return new
        try:
            return Manifest.from_json(data, new.name)
        except DamagedFileError as error:
            # No file of another kind may lie in the archive.
            kept = self.spool.directory / f"manifest-{hour.start}-{time.time_ns()}{DAMAGED}"
            kept.write_bytes(data)
            self.set_aside(kept, error)
            return self._found_again(new)

    def _found_again(self, new: Manifest) -> Manifest:
        """The manifest of an hour made anew from the files of its windows."""
        for stored in self.store.list(folder_of(new.cluster, Level.MINUTE, new.hour)):
            if not stored.name.endswith(f"-{new.segment}.parquet"):
                continue
            name = parsed(stored.name, new.cluster, Level.MINUTE)
            file = IdFile.open(
                name,
                stored.size,
                partial(self.store.get_ranges, stored.name),
            )
            contents = file.head.promised(file.contents)
            entry = WindowEntry.of_file(
                name, contents.rows, contents.digest, final=not self.in_cluster
            )
            new = new.with_window(entry)
        return new


def _name(head: SpoolHead) -> FileName:
    return FileName(
        head.window_start, head.window_seconds, head.segment, Level.MINUTE, head.cluster
    )


def _among(file: SpoolFile, some: NDArray[np.int64]) -> set[int]:
    """Those of `some` ids that the window has."""
    found: set[int] = set()
    for piece in file.pieces():
        ids = np.frombuffer(piece, dtype="<i8")
        found.update(ids[np.isin(ids, some)].tolist())
    return found


def _entry(found: Manifest, start: int, length: int) -> WindowEntry | None:
    same = (one for one in found.windows if (one.start, one.length) == (start, length))
    return next(same, None)
