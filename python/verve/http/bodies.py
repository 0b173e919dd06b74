"""How many bytes of bodies a worker holds at once.

Room is taken by what has arrived, never by what a client says that it will send.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

AT_ONCE = 16
"""Bodies of the largest size; more of smaller ones."""


class BodiesFullError(Exception):
    """There is no room for these bytes now."""


class Bodies:
    """The bodies that a worker holds, each of at most `largest` bytes."""

    def __init__(self, largest: int) -> None:
        self._room = AT_ONCE * largest
        self._held = 0
        self._lock = threading.Lock()

    @contextmanager
    def held(self) -> Iterator[Held]:
        """Hold one body within the block."""
        one = Held(self)
        try:
            yield one
        finally:
            self.take(-one.size)

    def take(self, size: int) -> None:
        """Take room for `size` bytes, or give it back. Raises `BodiesFullError` at once."""
        with self._lock:
            if size > 0 and self._held + size > self._room:
                raise BodiesFullError
            self._held += size


class Held:
    """One body, as it arrives."""

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self.size = 0
        """Bytes that are held."""
        self.received = 0
        """Bytes that came, those that were dropped too."""

    def grow(self, size: int, *, keep: bool = True) -> None:
        """`size` bytes came. Without `keep` they, and all before, are dropped."""
        self.received += size
        change = size if keep else -self.size
        self._bodies.take(change)
        self.size += change
