"""The restart policy: which worker is started again after its death, and after which pause.

Granian gives up when a worker dies twice within 5.5 seconds: it takes the worker for one that
cannot start. But a worker that was killed (by the kernel for want of memory, by an operator, by a
bug in a library) did start, and the others still serve. So here the exit status decides:

- A worker that was killed is always started again, after a growing pause if it dies soon each time.
- A worker that ends by itself soon after its start, twice in a row, cannot start.
- So does one that never lived long and ends soon for the fifth time by a signal of its own, as
  `abort` raises it where no thread can be started.
"""

from __future__ import annotations

import signal

SOON = 5.5
"""A worker that lives no longer than this, in seconds, died soon. Granian's own figure."""
LONGEST_PAUSE = 2.0
LONGEST_FAILURE_PAUSE = 30.0
FAILURES_AT_START = 5
OWN_SIGNALS = {
    signal.SIGABRT,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGSEGV,
    signal.SIGSYS,
    signal.SIGTRAP,
}
"""Signals that a process raises in itself; the others come from outside."""


class RestartPolicy:
    """Remembers the deaths of the workers, and decides what follows from the next one."""

    def __init__(self) -> None:
        self._lived: set[int] = set()
        # In a row, by worker.
        self._soon: dict[int, int] = {}
        self._exits: dict[int, int] = {}
        self._failures: dict[int, int] = {}

    def pause_after(self, worker: int, status: int, age: float) -> float | None:
        """Seconds to wait before the worker is started again; None: it cannot start, give up.

        `status` is negative if a signal ended it; `age` is how long it lived, in seconds.
        """
        soon = age < SOON
        if not soon:
            self._lived.add(worker)
        exited = soon and status >= 0
        failed = exited or (soon and -status in OWN_SIGNALS)
        self._soon[worker] = self._soon.get(worker, 0) + 1 if soon else 0
        self._exits[worker] = self._exits.get(worker, 0) + 1 if exited else 0
        self._failures[worker] = failures = self._failures.get(worker, 0) + 1 if failed else 0
        if self._exits[worker] > 1:
            return None
        if failures >= FAILURES_AT_START and worker not in self._lived:
            return None
        if failed:
            return min(LONGEST_FAILURE_PAUSE, 0.1 * 2.0 ** min(failures - 1, 10))
        return min(LONGEST_PAUSE, 0.05 * max(0, self._soon[worker] - 1))
