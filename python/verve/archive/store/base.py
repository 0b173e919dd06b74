"""What the archive needs of the place where its files lie."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


class StoredFile(NamedTuple):
    """A file by its name below the root, with slashes, and its size in bytes."""

    name: str
    size: int


class ArchiveStore(Protocol):
    """Files that are there as a whole or not at all. Any thread may use it.

    Methods raise `GoneError` for a file that is not there, and `StoreError` for anything else.
    """

    @property
    def url(self) -> str:
        """Where the files lie, without secrets, for messages."""
        ...

    def list(self, prefix: str, check: Callable[[], object] | None = None) -> list[StoredFile]:
        """The files below a folder, whose name ends with a slash, in the order of their names.

        There may be many. `check` is called again and again, and raises to end it.
        """
        ...

    def get(self, name: str) -> bytes:
        """All bytes of a file."""
        ...

    def get_ranges(self, name: str, ranges: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        """Ranges (offset, length) of a file. A range behind its end is cut off there."""
        ...

    def put(self, name: str, data: bytes | Path) -> None:
        """Put a file in place in one step, in place of one of that name. It survives then.

        `data` is its bytes, or a local file, which stays.
        """

    def delete(self, name: str) -> None:
        """Remove a file. It may be gone already."""
