"""A store of the archive that notes what is asked of it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from verve.archive.store import ArchiveStore


class NotingStore:
    """A store that notes what is read of it."""

    def __init__(self, store: ArchiveStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self.read: list[str] = []

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - that of the store
        return getattr(self._store, name)

    def list(self, prefix: str, check: Callable[[], object] | None = None) -> Any:  # noqa: ANN401 - as the real one
        """Note the folder."""
        self._note(prefix)
        return self._store.list(prefix, check)

    def get(self, name: str) -> bytes:
        """Note the file."""
        self._note(name)
        return self._store.get(name)

    def get_ranges(self, name: str, ranges: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        """Note the file."""
        self._note(name)
        return self._store.get_ranges(name, ranges)

    def _note(self, name: str) -> None:
        with self._lock:
            self.read.append(name)

    def hours(self) -> set[str]:
        """The hour files that were read since the last call."""
        found = {name for name in self.read if "level=hour" in name and name.endswith(".parquet")}
        self.read.clear()
        return found
