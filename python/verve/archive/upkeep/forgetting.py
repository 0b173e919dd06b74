"""Ids that are to be forgotten: a tombstone hides one at once, then the files are written anew.

A tombstone stays. A forgotten id is not counted again, whatever its windows.
"""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from verve.archive.errors import DamagedFileError, GoneError
from verve.archive.format import layout
from verve.archive.format.id_file_writer import IdFileWriter
from verve.archive.format.levels import Level
from verve.archive.format.manifest import FORMAT, sealed
from verve.archive.query.catalogue import THREADS, forgotten_ids, open_file

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from verve.archive.format.layout import FileName
    from verve.archive.store import ArchiveStore, StoredFile

_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The result of forget: the tombstone, how many files were read, and those that had the id."""

    tombstone: str
    files: int
    rewritten: tuple[str, ...]


def forget(
    store: ArchiveStore,
    cluster: str,
    id: int,
    scratch: Path,
    progress: Callable[[int, int], object] | None = None,
) -> Forgotten:
    """Hide an id, and write each file anew that has it. `progress` gets files done and in all.

    When it is interrupted, the id stays hidden, and another call goes on.
    """
    tombstone = layout.tombstone_name(cluster, id)
    store.put(tombstone, sealed({"format": FORMAT, "id": id}))
    found = [
        (layout.parsed(one.name, cluster, level), one)
        for level in Level
        for one in store.list(layout.level_folder(cluster, level))
        if not layout.manifest_segment(one.name)
    ]
    rewritten = []
    for number, (name, stored) in enumerate(found, 1):
        if rewrite(store, name, {id}, scratch, stored):
            rewritten.append(name.name)
        if progress is not None:
            progress(number, len(found))
    return Forgotten(tombstone, len(found), tuple(rewritten))


def tombstones(store: ArchiveStore, cluster: str) -> list[int]:
    """The ids that have a tombstone, in order."""
    with ThreadPoolExecutor(THREADS) as pool:
        return forgotten_ids(store, cluster, pool)


def rewrite(
    store: ArchiveStore,
    name: FileName,
    ids: Collection[int],
    scratch: Path,
    stored: StoredFile | None = None,
) -> bool:
    """Write a file anew without these ids; whether it had any."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            if stored is None:
                stored = _stored(store, name)
            return _rewrite(store, name, ids, scratch, stored)
        except GoneError:
            # It has expired meanwhile.
            return False
        except DamagedFileError:
            # Its host wrote it anew meanwhile.
            if attempt == _ATTEMPTS:
                raise
            stored = None
    raise AssertionError


def _stored(store: ArchiveStore, name: FileName) -> StoredFile:
    """The file as it is listed now. Raises `GoneError`."""
    folder = name.name.rpartition("/")[0] + "/"
    for one in store.list(folder):
        if one.name == name.name:
            return one
    raise GoneError(f"a file of the archive is not there: `{name.name}`")


def _rewrite(
    store: ArchiveStore, name: FileName, ids: Collection[int], scratch: Path, stored: StoredFile
) -> bool:
    def read(ranges: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        return store.get_ranges(name.name, ranges)

    file = open_file(store, name, stored)
    absent = np.array(sorted(ids), dtype=np.int64)
    removed = 0
    for id in ids:
        groups = file.between(id, id)
        removed += int(np.count_nonzero(file.ids(groups, read) == id))
    if not removed:
        return False
    head = replace(
        file.head,
        original=file.head.promised(file.contents),
        forgotten=file.head.forgotten + removed,
    )
    path = scratch / f"forget-{uuid.uuid4().hex}.building"
    try:
        with IdFileWriter(path, head) as writer:
            for i in range(len(file.groups)):
                some = slice(i, i + 1)
                if name.level.parts:
                    found, parts = file.ids_and_parts(some, read)
                    kept = ~np.isin(found, absent)
                    writer.append(found[kept], parts[kept])
                else:
                    found = file.ids(some, read)
                    writer.append(found[~np.isin(found, absent)])
        # As late as can be: the file may have got a late window, which lies nowhere else by now.
        if open_file(store, name, _stored(store, name)).footer != file.footer:
            raise DamagedFileError("a file of ids was written anew meanwhile", name.name)
        store.put(name.name, path)
    finally:
        path.unlink(missing_ok=True)
    return True
