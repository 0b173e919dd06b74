"""The process that archives the spool: started by the leader, started again when it ends.

It gets its options as the first line of its input, and a line for each change of the spool. It ends
when its input does, or the leader's process, so also when that was killed. It reports in lines of
JSON.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any, Protocol, TypeAlias, cast

from verve.clock import CLOCK, Clock
from verve.log import events

if TYPE_CHECKING:
    from collections.abc import Mapping

COMMAND = (sys.executable, "-P", "-m", "verve.archive.writer")
_END_SECONDS = 0.5


class Writer(Protocol):
    """What the leader needs of the writer."""

    def watch(self) -> bool:
        """Have it run; whether it was started just now."""
        ...

    def wake(self) -> None:
        """Tell it that the spool has more."""

    def is_well(self) -> None:
        """It has archived something."""

    def stop(self) -> None:
        """End it."""


StartWriter: TypeAlias = Callable[
    [dict[str, Any], Callable[["Mapping[str, Any]"], None], Clock], Writer
]
"""Makes a writer of its options, of what its reports go to, and of a clock."""


class WriterProcess:
    """Keeps the writer running from the first `watch` to `stop`."""

    def __init__(
        self,
        options: Mapping[str, Any],
        report: Callable[[Mapping[str, Any]], None],
        clock: Clock = CLOCK,
    ) -> None:
        """`report` gets what the writer says, in a thread of its own."""
        self._options = options
        self._report = report
        self._backoff = clock.backoff(longest=30.0)
        self._process: subprocess.Popen[bytes] | None = None
        self._refused = 0
        """Starts in a row that the host denied."""

    def watch(self) -> bool:
        """Start the process if it does not run and the pause is over; whether it was started.

        Where the host denies a process or a thread it is tried again later: the leader goes on.
        """
        process = self._process
        if process is not None:
            status = process.poll()
            if status is None:
                return False
            self._process = None
            _close(process)
            self._backoff.failed()
            events.ARCHIVE_WRITER_ENDED.emit(pid=process.pid, exit_status=_words(status))
        if self._backoff.remaining:
            return False
        try:
            self._start()
        except (OSError, RuntimeError) as error:
            # A thread that is denied is a `RuntimeError`.
            self.stop()
            self._backoff.failed()
            self._refused += 1
            problem = f"its process cannot start: {error}"
            self._report({"failed": problem, "attempts": self._refused})
            return False
        if self._refused:
            self._report({"recovered": self._refused})
            self._refused = 0
        return True

    def wake(self) -> None:
        """Tell it that the spool has more."""
        process = self._process
        if process is not None and process.stdin is not None:
            # A full pipe holds enough of these.
            with contextlib.suppress(OSError, ValueError):
                os.write(process.stdin.fileno(), b"\n")

    def is_well(self) -> None:
        """It has archived something: the next end of it is the first in a row."""
        self._backoff.succeeded()

    def stop(self) -> None:
        """End it. It may be killed at any time."""
        process, self._process = self._process, None
        if process is not None:
            _close(process)
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self) -> None:
        process = subprocess.Popen(  # noqa: S603 - the command is ours
            COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        self._process = process
        if process.stdin is None or process.stdout is None:
            return
        with contextlib.suppress(OSError):
            process.stdin.write(json.dumps(self._options).encode() + b"\n")
            os.set_blocking(process.stdin.fileno(), False)
        reader = threading.Thread(
            target=self._read, args=[process.stdout], name="verve-archive-reports", daemon=True
        )
        try:
            reader.start()
        except RuntimeError:
            process.stdout.close()
            raise

    def _read(self, lines: IO[bytes]) -> None:
        """Pass the reports on until the process ends."""
        raw = cast("io.RawIOBase", lines)
        with io.BufferedReader(raw) as reports, contextlib.suppress(OSError):
            for line in reports:
                with contextlib.suppress(ValueError):
                    self._report(json.loads(line))


def _close(process: subprocess.Popen[bytes]) -> None:
    """Close its input; the thread that reads its output closes that."""
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()


def _words(status: int) -> str:
    return f"status {status}" if status >= 0 else f"signal {-status}"
