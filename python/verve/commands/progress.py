"""How far a command is, on a terminal: one line on standard error, which is gone at the end."""

from __future__ import annotations

import os
import stat
import sys
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from typing import BinaryIO

_SECONDS = 0.2
"""Time between two changes of the line."""


class Progress:
    """The line for reading `source`, or for a total that each call tells.

    Nothing is written if standard error is no terminal.
    """

    def __init__(self, source: BinaryIO | None = None) -> None:
        self._terminal = sys.stderr is not None and sys.stderr.isatty()
        self._total = _size_of(source) if self._terminal and source is not None else 0
        self._shown_at: float | None = None

    def tell(self, count: int, size: int, total: int | None = None, things: str = "ids") -> None:
        """Show how many `things` there are, and which part of the file or total `size` is."""
        now = time.monotonic()
        recent = self._shown_at is not None and now - self._shown_at < _SECONDS
        if not self._terminal or recent:
            return
        self._shown_at = now
        total = self._total if total is None else total
        part = f", {min(100, 100 * size // total)} %" if total else ""
        self._write(f"\r{count:,} {things}{part}")

    def _write(self, text: str) -> None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:
            self._terminal = False  # it was closed; the count goes on

    def __enter__(self) -> Self:
        """Return the line, which is not shown yet."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Remove the line."""
        if self._shown_at is not None and self._terminal:
            self._write("\r\x1b[K")


def _size_of(source: BinaryIO) -> int:
    """The bytes of a regular file; 0 for a pipe, which has no known end."""
    try:
        found = os.fstat(source.fileno())
    except (OSError, ValueError):
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0
