"""The requirements of the machine, checked before the segment is opened."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import sqlite3
import struct
import sys
import tempfile
from typing import TYPE_CHECKING

from verve._verve import SettingError

if TYPE_CHECKING:
    from pathlib import Path

OLDEST_SQLITE = (3, 24, 0)
"""The first version that can update a row in place (`ON CONFLICT (...) DO UPDATE`)."""
# The errors of a kernel, or of a sandbox that replaces it, for an unknown call.
_UNKNOWN = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}


def check(segment: Path) -> None:
    """Raise `SettingError` if this machine cannot run Verve with any settings."""
    _check_sqlite()
    if sys.platform != "linux":
        return
    try:
        with tempfile.TemporaryFile(dir=segment.parent) as probe:
            _check_locks(probe.fileno())
            _check_reserving(probe.fileno(), segment.parent)
    except OSError:
        # The directory is full or unusable: the creation of the segment reports which.
        return


def _check_sqlite() -> None:
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        wanted = ".".join(map(str, OLDEST_SQLITE))
        raise SettingError(
            f"the ledger needs SQLite {wanted} or newer, this Python uses an older one: "
            f"`{sqlite3.sqlite_version}`; hint: use a newer Python or system"
        )


def _check_locks(descriptor: int) -> None:
    request = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0)
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, request)
    except OSError as error:
        if error.errno in _UNKNOWN:
            raise SettingError(
                "the kernel has no locks of open files (`F_OFD_SETLK`): "
                f"`{os.uname().release}`; hint: use Linux 3.15 or newer, and no sandbox that "
                "lacks them"
            ) from error
        raise


def _check_reserving(descriptor: int, directory: Path) -> None:
    if fallocate(descriptor, 1) in _UNKNOWN:
        raise SettingError(
            f"the file system of the segment cannot reserve space (`fallocate`): `{directory}`; "
            "hint: set `VERVE_SEGMENT` to a file on a tmpfs, as `/dev/shm` is"
        )


def fallocate(descriptor: int, length: int) -> int:
    """Reserve the first `length` bytes of a file. Returns 0 or the error number.

    Not `os.posix_fallocate`: it writes zeroes if the file system cannot reserve.
    """
    reserve = ctypes.CDLL(None, use_errno=True).fallocate
    reserve.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    return ctypes.get_errno() if reserve(descriptor, 0, 0, length) else 0
