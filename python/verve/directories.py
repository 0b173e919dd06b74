"""Directories whose names survive a loss of power."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["make", "sync"]


def make(directory: Path) -> None:
    """Make a directory that only its owner may read, and those above it. Raises `OSError`."""
    made = [one for one in (directory, *directory.parents) if not one.exists()]
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for one in made:
        # Its own files may be on the disk and still be lost, if its name is not. Not every file
        # system can do that, nor may everyone read the directory above.
        with contextlib.suppress(OSError):
            sync(one.parent)


def sync(directory: Path) -> None:
    """Make the names in a directory survive a loss of power. Raises `OSError`."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
