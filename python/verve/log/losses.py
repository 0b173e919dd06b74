"""The number of lines that this host could not write, over all processes and restarts.

Each process adds its losses to a small file in the state directory. If the file cannot be written,
the process adds the number at the next loss.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FILE_NAME = "lost-lines"
OUTPUTS = ("stdout", "stderr")
_FORM = re.compile(r"stdout ([0-9]{20}) stderr ([0-9]{20})\n")
_BYTES = 56
_PATIENCE = 0.2


def read(directory: Path) -> Mapping[str, int]:
    """The number of lost lines by output; 0 if there is no file."""
    try:
        with (directory / FILE_NAME).open("rb") as file:
            return _numbers(file.read(_BYTES))
    except OSError:
        return dict.fromkeys(OUTPUTS, 0)


def add(directory: Path, output: str, number: int) -> None:
    """Add `number` lost lines of `output`. Raises `OSError`."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    with _only_one(directory):
        descriptor = os.open(directory / FILE_NAME, flags, 0o600)
        try:
            _add(descriptor, output, number)
        finally:
            os.close(descriptor)


def _add(descriptor: int, output: str, number: int) -> None:
    numbers = dict(_numbers(os.pread(descriptor, _BYTES, 0)))
    numbers[output] += number
    # The length is constant, so that a reader never sees a mix of an old and a new text.
    text = " ".join(f"{name} {numbers[name]:020}" for name in OUTPUTS)
    os.pwrite(descriptor, f"{text}\n".encode(), 0)


@contextlib.contextmanager
def _only_one(directory: Path) -> Iterator[None]:
    """Exclude other threads and processes. No fork inherits this kind of file lock."""
    path = directory / f"{FILE_NAME}.lock"
    with _threads.lock:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            deadline = time.monotonic() + _PATIENCE
            while not _is_locked(descriptor):
                if time.monotonic() > deadline:
                    raise BlockingIOError(errno.EAGAIN, "another process has the file")
                time.sleep(0.01)
            yield
        finally:
            os.close(descriptor)


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


class _Threads:
    """The lock between the threads of a process; a forked process gets a new one."""

    def __init__(self) -> None:
        self.begin()
        os.register_at_fork(after_in_child=self.begin)

    def begin(self) -> None:
        """Create the lock."""
        self.lock = threading.Lock()


_threads = _Threads()


def _numbers(text: bytes) -> Mapping[str, int]:
    found = _FORM.fullmatch(text.decode(errors="replace"))
    return dict(zip(OUTPUTS, map(int, found.groups() if found else (0, 0)), strict=True))
