"""The names of an archive's files for one turn of the upkeep: a bucket charges for each listing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verve.archive.format import layout

if TYPE_CHECKING:
    from collections.abc import Collection

    from verve.archive.format.levels import Level
    from verve.archive.store import ArchiveStore, StoredFile


class Listing:
    """Lists each level once, when its files are first asked for.

    What others put or delete meanwhile is not seen: whoever deletes by it looks at a file first.
    """

    def __init__(self, store: ArchiveStore, cluster: str) -> None:
        self._store = store
        self._cluster = cluster
        self._levels: dict[Level, list[StoredFile]] = {}

    def files(self, level: Level) -> list[StoredFile]:
        """The files of a level, in the order of their names."""
        if level not in self._levels:
            self._levels[level] = self._store.list(layout.level_folder(self._cluster, level))
        return self._levels[level]

    def remove(self, names: Collection[str]) -> None:
        """Leave out files that were deleted since."""
        for level, files in self._levels.items():
            self._levels[level] = [one for one in files if one.name not in names]
