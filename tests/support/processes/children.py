"""Processes of a test: started bare, told apart by pid, stopped and killed by signals.

They are forked from a process that has imported what they need and has no threads (so not numpy,
which begins some): a start takes milliseconds, and nothing is inherited of the test's own process.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    Link = Connection[Any, Any]
    Target = Callable[..., None]

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    ["pytest", "verve", "tests.support.processes.writers", "tests.support.processes.calls"]
)


class Child:
    """A process that runs `target(link, *arguments)`; the other end of `link` is `Child.link`."""

    def __init__(self, target: Target, *arguments: object) -> None:
        self.link, theirs = _context.Pipe()
        self.process = _context.Process(target=target, args=(theirs, *arguments), daemon=True)
        self.process.start()
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.process.pid is not None
        return self.process.pid

    def receive(self, timeout: float = 30) -> Any:  # noqa: ANN401 - what the target sends
        """Wait for what the process sends next."""
        if not self.link.poll(timeout):
            raise AssertionError(f"nothing came from process {self.pid} within {timeout} s")
        try:
            return self.link.recv()
        except EOFError:
            self.process.join()
            code = self.process.exitcode
            raise AssertionError(f"process {self.pid} ended with {code} and sent nothing") from None

    def kill(self) -> None:
        """End it with SIGKILL; it may live on for a moment."""
        os.kill(self.pid, signal.SIGKILL)

    def stop(self) -> None:
        """Stop it with SIGSTOP, and wait until all of its threads stand still."""
        os.kill(self.pid, signal.SIGSTOP)
        wait_until(lambda: _states(self.pid) <= {"T", "Z", "X"}, 10, "stopped")

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def join(self) -> int:
        """Wait for its end; the negative number of the signal, if one ended it."""
        self.process.join(30)
        code = self.process.exitcode
        assert code is not None, f"process {self.pid} goes on"
        return code

    def close(self) -> None:
        """End it, if it has not ended."""
        if self.process.is_alive():
            self.process.kill()
        self.process.join()
        self.process.close()
        self.link.close()


class Board:
    """Numbers that processes share, and that outlive each of them: a mapped file of int64s."""

    def __init__(self, path: Path, words: int = 64) -> None:
        import mmap  # noqa: PLC0415 - nothing else here maps files

        self.path = path
        with path.open("r+b" if path.exists() else "w+b") as file:
            file.truncate(max(words * 8, path.stat().st_size))
            self._mapping = mmap.mmap(file.fileno(), 0)
        self.words = memoryview(self._mapping).cast("q")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getitem__(self, index: int) -> int:
        return self.words[index]

    def __setitem__(self, index: int, value: int) -> None:
        self.words[index] = value

    def wait(self, index: int, value: int, timeout: float = 30) -> None:
        """Wait until a word has reached `value`."""
        wait_until(lambda: self.words[index] >= value, timeout, f"word {index} at {value}")

    def close(self) -> None:
        """Unmap it; the file stays."""
        self.words.release()
        self._mapping.close()


def wait_until(met: Callable[[], object], timeout: float, what: str) -> None:
    """Ask, every half millisecond, until the answer is true."""
    end = time.monotonic() + timeout
    while not met():
        if time.monotonic() > end:
            raise AssertionError(f"not {what} within {timeout} s")
        time.sleep(0.0005)


def _states(pid: int) -> set[str]:
    """The states of all threads of a process."""
    states = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        status = (task / "stat").read_text(encoding="utf-8", errors="replace")
        states.add(status.rpartition(")")[2].split()[0])
    return states
