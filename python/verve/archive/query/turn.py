"""The turn of a query: one runs on a host at once."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCK = "archive-query.lock"
"""The file in the state directory that the process of a query locks."""


@contextlib.contextmanager
def turn(state_dir: Path) -> Iterator[bool]:
    """Take the lock of the host's queries; whether no other process has it. Raises `OSError`."""
    descriptor = os.open(state_dir / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
