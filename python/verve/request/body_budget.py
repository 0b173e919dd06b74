"""The budget of a worker for bodies in memory, in bytes.

A body takes room as its bytes arrive. A declared length takes room in advance only if at least half
of the budget stays free: the worker then reads that body in one call, which is faster.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

AT_ONCE = 16
"""The budget, in bodies of the largest size."""


class BodiesFullError(Exception):
    """The budget has no room for these bytes at present."""


class Bodies:
    """The bodies that a worker holds, each of at most `largest` bytes."""

    def __init__(self, largest: int) -> None:
        self._room = AT_ONCE * largest
        self._held = 0
        self._open = 0
        self._lock = threading.Lock()

    @property
    def open(self) -> int:
        """The number of bodies that are held, also those of which nothing has arrived."""
        return self._open

    @contextmanager
    def held(self) -> Iterator[Held]:
        """Hold one body within the block, and return its room afterwards."""
        one = Held(self)
        with self._lock:
            self._open += 1
        try:
            yield one
        finally:
            with self._lock:
                self._open -= 1
                self._held -= one.size

    def take(self, size: int, *, of: float = 1) -> None:
        """Take room for `size` bytes; a negative size returns it. Raises `BodiesFullError`.

        `of` is the fraction of the budget that all bodies together may then use.
        """
        with self._lock:
            if size > 0 and self._held + size > self._room * of:
                raise BodiesFullError
            self._held += size


class Held:
    """The room of one body while it arrives."""

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self.size = 0
        """Bytes of room that this body has taken."""

    def grow(self, size: int) -> None:
        """Take room for `size` bytes that have arrived. Raises `BodiesFullError`."""
        self._bodies.take(size)
        self.size += size

    def expect(self, size: int) -> bool:
        """Take room for `size` declared bytes; False if the body must be read in chunks."""
        try:
            self._bodies.take(size, of=0.5)
        except BodiesFullError:
            return False
        self.size += size
        return True

    def drop(self) -> None:
        """Return the room of a body that is not kept."""
        self._bodies.take(-self.size)
        self.size = 0
