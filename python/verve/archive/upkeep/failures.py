"""Errors of single files, which must not keep the upkeep from all others."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from verve.archive.errors import ArchiveError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Failures:
    """Keeps the first error until the rest of the work is done."""

    def __init__(self) -> None:
        self._first: ArchiveError | None = None

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Keep an error of the body. One of the store ends the work: the rest would fail, too."""
        try:
            yield
        except StoreError:
            raise
        except ArchiveError as error:
            self._first = self._first or error

    def raise_first(self) -> None:
        """Raise the error that was kept first, if there is one."""
        if self._first is not None:
            raise self._first
