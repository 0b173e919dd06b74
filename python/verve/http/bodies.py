"""How many bytes of bodies a worker holds at once."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

AT_ONCE = 16
"""Bodies of the largest size; more of smaller ones."""


class BodiesFullError(Exception):
    """There is no room for another one now."""


class Bodies:
    """The bodies that a worker holds, each of at most `largest` bytes."""

    def __init__(self, largest: int) -> None:
        self._room = AT_ONCE * largest
        self._held = 0

    @contextmanager
    def room(self, size: int) -> Iterator[None]:
        """Have room for `size` bytes within the block. Raises `BodiesFullError` at once."""
        if self._held + size > self._room:
            raise BodiesFullError
        self._held += size
        try:
            yield
        finally:
            self._held -= size
