"""How many bytes of bodies a worker holds at once.

Room is taken by what has arrived. What a client says that it will send takes room only where more
than half of it is then left: that body can be read in one piece, which is quicker.
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

    def take(self, size: int, *, of: float = 1) -> None:
        """Take room for `size` bytes, or give it back. Raises `BodiesFullError` at once.

        `of` is the part of the room that may be taken in all.
        """
        with self._lock:
            if size > 0 and self._held + size > self._room * of:
                raise BodiesFullError
            self._held += size


class Held:
    """One body, as it arrives."""

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self.size = 0
        """Bytes that it has room for."""

    def grow(self, size: int) -> None:
        """`size` more bytes came. Raises `BodiesFullError`."""
        self._bodies.take(size)
        self.size += size

    def expect(self, size: int) -> bool:
        """Take room for `size` bytes that are to come; False if they have to come one by one."""
        try:
            self._bodies.take(size, of=0.5)
        except BodiesFullError:
            return False
        self.size += size
        return True

    def drop(self) -> None:
        """What came is not kept."""
        self._bodies.take(-self.size)
        self.size = 0
