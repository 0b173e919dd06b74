"""The standard streams of a command: any of them may be closed, full, or of another encoding."""

from __future__ import annotations

import errno
import io
import os
import sys

OUTPUT_ERRORS = frozenset({errno.EBADF, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOSPC})
"""What a write to a standard stream fails with when the disk behind it is full or gone."""


def prepare() -> None:
    """Make every write to a standard stream safe.

    A file that is opened while a standard descriptor is closed takes its number, and what is
    written to that stream would end in the file. A character that the encoding of the terminal
    lacks is escaped.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free number is this one.
            os.open(os.devnull, os.O_RDWR)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def flush() -> None:
    """Write what is buffered for standard output. Raises `OSError`."""
    if sys.stdout is not None and not sys.stdout.closed:
        sys.stdout.flush()


def drop_output() -> None:
    """Forget what could not be written: the interpreter would try again at its exit."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        target = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(target, sys.stdout.fileno())
        except (OSError, ValueError):
            sys.stdout = None
        finally:
            os.close(target)
