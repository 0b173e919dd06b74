"""Where the files of the archive lie: a folder, or an object store."""

from __future__ import annotations

from .base import ArchiveStore, StoredFile
from .opening import open_store

__all__ = ["ArchiveStore", "StoredFile", "open_store"]
