"""Standard output and standard error, which may block: one thread per output waits for them.

A full pipe, a halted terminal or a journal that hangs blocks `write`. Lines therefore wait in a
queue for a thread that writes them. Lines that exceed the queue, or that cannot be written, are
lost and counted. A caller that needs the result writes its line itself, with a deadline.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import io
import math
import multiprocessing
import os
import select
import stat
import sys
import threading
import time
from typing import TYPE_CHECKING, Protocol

from .deferred import Deferred

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_LINES = 4_000
"""Maximum number of lines that wait per output."""
TELL_EVERY = 1.0
_EXIT_SECONDS = 0.5
_RETRY = 0.001
# A pipe with space takes this many bytes in one write; a longer write may block half-way.
_PIECE = select.PIPE_BUF


class Lost(Protocol):
    """Reports lines that an output lost."""

    def __call__(self, number: int, /, *, is_written: bool) -> None:
        """Take the number since the last call, and whether lines are written again."""
        ...


def _ignore(_number: int, /, *, is_written: bool) -> None:
    del is_written


class Output:
    """The writer of one descriptor."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.lost: Lost = _ignore
        """The writing thread calls it when lines are lost, and when lines are written again."""
        self._lines = Deferred[bytes](
            f"verve-output-{descriptor}", self._write_all, MOST_LINES, self._write_briefly
        )
        self.begin()

    def begin(self) -> None:
        """Reset the state, also in a forked process: the parent reports its own losses."""
        self._lock = threading.Lock()
        self._broken_off = False
        self._failed = 0
        self._told = 0.0
        self._owes = False

    def put(self, line: bytes) -> None:
        """Queue a line; it is lost and counted if it cannot be written."""
        self._lines.put(line)

    def write(self, line: bytes, patience: float) -> None:
        """Write a line at once. Raises `OSError` if that fails or exceeds `patience` seconds."""
        deadline = time.monotonic() + patience
        if not self._lock.acquire(timeout=patience):
            raise BlockingIOError(errno.EAGAIN, "nobody reads it")
        try:
            self._write(line, deadline)
        finally:
            self._lock.release()

    def start(self) -> None:
        """Start the thread before it is needed."""
        self._lines.start()

    def flush(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds until all lines are written. Returns whether they are."""
        return self._lines.flush(timeout)

    def close(self) -> None:
        """Flush briefly at the end of the process, and report the lines that are not written."""
        self._lines.close(_EXIT_SECONDS)
        lost = self._newly_lost() + self._lines.waiting()
        self._lock = threading.Lock()
        if lost:
            self.lost(lost, is_written=False)

    def _write(self, line: bytes, deadline: float, *, finishes: bool = False) -> None:
        """Write a line by `deadline`; with `finishes`, a line that is begun has no deadline."""
        is_file = stat.S_ISREG(os.fstat(self.descriptor).st_mode)
        most = len(line) + 1 if is_file else _PIECE
        rest = memoryview(b"\n" + line if self._broken_off else line)
        whole = len(rest)
        try:
            while rest:
                is_begun = finishes and len(rest) < whole
                patience = math.inf if is_begun else deadline - time.monotonic()
                if not writable(self.descriptor, patience):
                    raise BlockingIOError(errno.EAGAIN, "nobody reads it")
                try:
                    rest = rest[os.write(self.descriptor, rest[:most]) :]
                except BlockingIOError:  # another process filled the pipe first
                    time.sleep(_RETRY)
        finally:
            if len(rest) < whole:
                self._broken_off = bool(rest)

    def _write_all(self, lines: list[bytes]) -> None:
        for number, piece in _pieces(lines):
            try:
                while not self._is_written(piece):
                    self._tell(is_written=False)
            except OSError:
                self._failed += number
            else:
                self._tell(is_written=True)

    def _is_written(self, piece: bytes) -> bool:
        # It waits without the lock: else `write` times out on the lock, and hides its own error.
        if not writable(self.descriptor, TELL_EVERY):
            return False
        with contextlib.suppress(BlockingIOError), self._lock:
            self._write(piece, time.monotonic(), finishes=True)
            return True
        return False

    def _write_briefly(self, lines: list[bytes]) -> None:
        deadline = time.monotonic() + _EXIT_SECONDS
        for number, piece in _pieces(lines):
            try:
                self.write(piece, max(0.0, deadline - time.monotonic()))
            except OSError:
                self._failed += number

    def _tell(self, *, is_written: bool) -> None:
        now = time.monotonic()
        caught_up = is_written and not self._lines.queued()
        if caught_up or now - self._told >= TELL_EVERY:
            self._told = now
            lost = self._newly_lost()
            if lost or (is_written and self._owes):
                self.lost(lost, is_written=is_written)
                self._owes = not is_written

    def _newly_lost(self) -> int:
        failed, self._failed = self._failed, 0
        return failed + self._lines.dropped()


class _Begun(threading.local):
    """The unfinished line of a thread."""

    text = ""


class Stream(io.TextIOBase):
    """Replaces `sys.stdout` or `sys.stderr`, and passes its text to an output."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, output: Output) -> None:
        super().__init__()
        self._output = output
        self._begun = _Begun()

    def write(self, text: str) -> int:
        """Queue the whole lines of `text`; keep an unfinished line until it ends."""
        *lines, self._begun.text = (self._begun.text + text).split("\n")
        if lines:
            self._put("".join(f"{line}\n" for line in lines))
        return len(text)

    def flush(self) -> None:
        """Queue an unfinished line. A failed worker runs nothing after this: it waits briefly."""
        begun, self._begun.text = self._begun.text, ""
        if begun:
            self._put(begun)
        if multiprocessing.parent_process() is not None:
            self._output.flush(_EXIT_SECONDS)

    def writable(self) -> bool:
        """True: the stream can be written."""
        return True

    def fileno(self) -> int:
        """The descriptor of the output."""
        return self._output.descriptor

    def isatty(self) -> bool:
        """Whether the output is a terminal."""
        return os.isatty(self._output.descriptor)

    def _put(self, text: str) -> None:
        self._output.put(text.encode(errors="backslashreplace"))


STANDARD = {1: Output(1), 2: Output(2)}


def _begin_in_child() -> None:
    for output in STANDARD.values():
        output.begin()


def _close() -> None:
    for output in STANDARD.values():
        output.close()


os.register_at_fork(after_in_child=_begin_in_child)
atexit.register(_close)


def take_over() -> None:
    """Route all text that this process writes to `sys.stdout` and `sys.stderr` through the outputs.

    Text that bypasses Python, such as the report of a crash, must not block either. The function
    therefore reopens pipe and terminal: `O_NONBLOCK` then holds only for this process and its
    workers.
    """
    for name, output in (("stdout", STANDARD[1]), ("stderr", STANDARD[2])):
        stream = getattr(sys, name)
        if stream is None or isinstance(stream, Stream):
            continue
        with contextlib.suppress(OSError, ValueError):
            if stream.fileno() == output.descriptor:
                stream.flush()
                _open_anew(output.descriptor)
                setattr(sys, name, Stream(output))
                output.start()


def _open_anew(descriptor: int) -> None:
    mode = os.fstat(descriptor).st_mode
    if not (stat.S_ISFIFO(mode) or os.isatty(descriptor)):
        return
    flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        # To open the pipe of another user may be forbidden.
        opened = os.open(f"/proc/self/fd/{descriptor}", flags)
    except OSError:
        return
    os.dup2(opened, descriptor)
    os.close(opened)


def writable(descriptor: int, timeout: float) -> bool:
    """Wait at most `timeout` seconds until a write would not block, or would fail.

    Returns whether that is so.
    """
    asked = select.poll()
    asked.register(descriptor, select.POLLOUT)
    return bool(asked.poll(None if timeout == math.inf else max(0.0, timeout * 1000)))


def flush(timeout: float) -> bool:
    """Wait at most `timeout` seconds until all lines are written. Returns whether they are."""
    deadline = time.monotonic() + timeout
    written = [one.flush(max(0.0, deadline - time.monotonic())) for one in STANDARD.values()]
    return all(written)


def _pieces(lines: list[bytes]) -> Iterator[tuple[int, bytes]]:
    """Groups of lines that a pipe takes in one write, each with its number of lines."""
    piece: list[bytes] = []
    size = 0
    for line in lines:
        if piece and size + len(line) > _PIECE:
            yield len(piece), b"".join(piece)
            piece, size = [], 0
        piece.append(line)
        size += len(line)
    if piece:
        yield len(piece), b"".join(piece)
