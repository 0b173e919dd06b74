"""A process stepped through a call instruction by instruction, and what it has written by then.

Whoever copies the segment of a process that stands still has the segment as a kill at that
instruction would leave it: all that the process has stored is in the file, and its locks are not.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import mmap
import os
import platform
import signal
from typing import IO, TYPE_CHECKING, Self

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_SINGLESTEP, _DETACH, _SYSCALL, _SEIZE, _INTERRUPT = 9, 17, 24, 0x4206, 0x4207
_EXITKILL, _SYSGOOD = 1 << 20, 1
_WALL = 0x4000_0000
PAGE = 4_096
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
    """A segment of which changes are to be seen, in those pages of it that may change."""

    def __init__(self, path: Path, pages: frozenset[int]) -> None:
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self._view = (ctypes.c_char * len(self._map)).from_buffer(self._map)
        self._address = ctypes.addressof(self._view)
        self._seen = []
        for begin, length in _runs(pages):
            now = self._map[begin : begin + length]
            self._seen.append(
                (self._address + begin, ctypes.create_string_buffer(now, length), length)
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        del self._view
        self._map.close()

    def changed(self) -> bool:
        """Whether anything is different from when this was last asked."""
        found = False
        for address, seen, length in self._seen:
            if _libc.memcmp(address, seen, length) != 0:
                ctypes.memmove(seen, address, length)
                found = True
        return found


def _runs(pages: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Where in the file pages that follow one another begin, and their length."""
    for _, run in itertools.groupby(enumerate(sorted(pages)), lambda pair: pair[1] - pair[0]):
        numbers = [page for _, page in run]
        yield numbers[0] * PAGE, len(numbers) * PAGE


def copy(path: Path, to: Path) -> None:
    """Copy a segment as it is now, holes as holes."""
    with path.open("rb") as file, to.open("wb") as copied:
        to.chmod(0o600)
        copied.truncate(os.fstat(file.fileno()).st_size)
        for begin, end in data_ranges(file):
            file.seek(begin)
            copied.seek(begin)
            copied.write(file.read(end - begin))


def data_ranges(file: IO[bytes]) -> list[tuple[int, int]]:
    """The ranges of a file that have storage behind them."""
    ranges: list[tuple[int, int]] = []
    at = 0
    while at < os.fstat(file.fileno()).st_size:
        try:
            begin = os.lseek(file.fileno(), at, os.SEEK_DATA)
        except OSError:
            break
        at = os.lseek(file.fileno(), begin, os.SEEK_HOLE)
        ranges.append((begin, at))
    return ranges


def differing_pages(one: Path, other: Path) -> frozenset[int]:
    """The pages in which two files differ."""
    with one.open("rb") as first, other.open("rb") as second:

        def differ(page: int) -> bool:
            first.seek(page * PAGE)
            second.seek(page * PAGE)
            return first.read(PAGE) != second.read(PAGE)

        ranges = [*data_ranges(first), *data_ranges(second)]
        pages = {page for begin, end in ranges for page in range(begin // PAGE, -(-end // PAGE))}
        return frozenset(page for page in pages if differ(page))
