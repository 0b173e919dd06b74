"""The standard streams of a command: each may be closed, full, or have another encoding."""

from __future__ import annotations

import errno
import io
import os
import sys

OUTPUT_ERRORS = frozenset({errno.EBADF, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOSPC})
"""Errors of a write to a standard stream whose disk is full or gone."""


def prepare() -> None:
    """Make every write to a standard stream safe.

    A file that is opened while a standard descriptor is closed takes the descriptor's number, and
    output to the stream would be written to the file. Characters that the encoding of the terminal
    lacks are escaped.
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
    """Write the buffered standard output. Raises `OSError`."""
    if sys.stdout is not None and not sys.stdout.closed:
        sys.stdout.flush()


def drop_output() -> None:
    """Discard the output that could not be written: the interpreter would retry it at its exit."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        target = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(target, sys.stdout.fileno())
        except (OSError, ValueError):
            sys.stdout = None
        finally:
            os.close(target)
