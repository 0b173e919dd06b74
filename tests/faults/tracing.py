"""A process stepped through a call instruction by instruction, and what it has written by then.

Whoever copies the segment of a process that stands still has the segment as a kill at that
instruction would leave it: all that the process has stored is in the file, and its locks are not.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import platform
import signal
from typing import TYPE_CHECKING, Self

import pytest

if TYPE_CHECKING:
    from pathlib import Path

_CONT, _SINGLESTEP, _DETACH, _SYSCALL, _SEIZE, _INTERRUPT = 7, 9, 17, 24, 0x4206, 0x4207
_EXITKILL, _SYSGOOD = 1 << 20, 1
_WALL = 0x4000_0000
_SYSCALL_STOP = signal.SIGTRAP | 0x80

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long
_libc.memcmp.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]


class Tracer:
    """Holds one process, which must have a single thread. Use it from one thread only."""

    def __init__(self, pid: int) -> None:
        if platform.machine() != "x86_64":
            pytest.skip("elsewhere a step may break the atomics that it steps through")
        self.pid = pid
        self._held = False
        try:
            self._call(_SEIZE, _EXITKILL | _SYSGOOD)
        except PermissionError:
            pytest.skip("processes may not be traced here")
        self._call(_INTERRUPT)
        self._wait()
        self._held = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._held:
            self.let_go()

    def step(self) -> None:
        """Let it do one instruction."""
        self._call(_SINGLESTEP)
        self._wait()

    def next_system_call(self) -> bool:
        """Let it run up to the next entry to, or return from, a system call; False at its end."""
        self._call(_SYSCALL)
        return self._wait() == _SYSCALL_STOP

    def let_go(self) -> None:
        """Let it go on by itself."""
        self._held = False
        self._call(_DETACH)

    def _call(self, request: int, data: int = 0) -> None:
        if _libc.ptrace(request, self.pid, None, data) == -1:
            code = ctypes.get_errno()
            if code == errno.EPERM:
                raise PermissionError(code, os.strerror(code))
            raise OSError(code, os.strerror(code))

    def _wait(self) -> int:
        _, status = os.waitpid(self.pid, _WALL)
        assert os.WIFSTOPPED(status), f"process {self.pid} ended with {status:#x}"
        return os.WSTOPSIG(status)


class Watched:
    """A segment of which changes are to be seen: the bytes that have storage behind them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            self.length = path.stat().st_size
            self._map = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ | mmap.PROT_WRITE, flags=mmap.MAP_PRIVATE) if False else mmap.mmap(os.open(path, os.O_RDWR), 0)
            self.ranges = list(_data(file.fileno(), self.length))
        self._view = (ctypes.c_char * self.length).from_buffer(self._map)
        self._address = ctypes.addressof(self._view)
        self._seen = [
            ctypes.create_string_buffer(self._map[begin:end], end - begin)
            for begin, end in self.ranges
        ]

    def changed(self) -> bool:
        """Whether anything is different from when this was last asked."""
        found = False
        for number, (begin, end) in enumerate(self.ranges):
            seen = self._seen[number]
            if _libc.memcmp(self._address + begin, seen, end - begin) != 0:
                ctypes.memmove(seen, self._address + begin, end - begin)
                found = True
        return found

    def copy(self, to: Path) -> None:
        """Write what was seen last to a file of its own."""
        with to.open("wb") as file:
            to.chmod(0o600)
            file.truncate(self.length)
            for (begin, _), seen in zip(self.ranges, self._seen, strict=True):
                file.seek(begin)
                file.write(seen.raw)

    def close(self) -> None:
        """Unmap it."""
        del self._view
        self._map.close()


def _data(descriptor: int, length: int) -> list[tuple[int, int]]:
    """The ranges of a file that have storage behind them."""
    ranges = []
    at = 0
    while at < length:
        try:
            begin = os.lseek(descriptor, at, os.SEEK_DATA)
        except OSError:
            break
        at = os.lseek(descriptor, begin, os.SEEK_HOLE)
        ranges.append((begin, at))
    return ranges
