"""The processes that `verve serve` inherits: as process 1 of a container, it has to reap them.

A process whose parent has died is given to process 1, or to a nearer one that has asked for that
(`PR_SET_CHILD_SUBREAPER`). When it ends, it stays in the process table until its new parent takes
its exit status; enough of them use up the limit of processes. Commands that are run in the
container by `docker exec` leave such processes behind.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from typing import Any

PAUSE_SECONDS = 1.0
_PR_GET_CHILD_SUBREAPER = 37


class Orphans:
    """Reaps inherited processes. `multiprocessing` reads the exit statuses of the workers."""

    def __init__(self) -> None:
        # Held while a worker starts: until its number is known, it looks like an orphan.
        self._starting = threading.Lock()
        self._workers: set[int] = set()

    def spare(self, worker: Any) -> None:  # noqa: ANN401 - Granian's own
        """Leave the exit status of this worker alone, from its start until `forget`."""
        start = worker.start

        def noted() -> None:
            with self._starting:
                start()
                self._workers.add(worker.inner.pid)

        worker.start = noted

    def forget(self, worker: Any) -> None:  # noqa: ANN401 - Granian's own
        """Take note that its exit status was taken: its number may become that of an orphan."""
        with self._starting:
            self._workers.discard(worker.inner.pid)

    def watch(self) -> None:
        """Reap in a thread of its own from now on, if this process inherits any."""
        if inherits():
            threading.Thread(target=self._run, name="verve-orphans", daemon=True).start()

    def reap(self) -> int:
        """Reap all orphans that have ended. Returns their number."""
        reaped = 0
        with self._starting:
            while (ended := _ended()) is not None and ended not in self._workers:
                os.waitpid(ended, os.WNOHANG)
                reaped += 1
        return reaped

    def _run(self) -> None:
        pause = threading.Event()
        while not pause.wait(PAUSE_SECONDS):
            self.reap()


def inherits() -> bool:
    """Whether the kernel gives orphans to this process."""
    if sys.platform != "linux":
        return False
    flag = ctypes.c_int()
    asked = ctypes.CDLL(None).prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(flag), 0, 0, 0)
    return os.getpid() == 1 or (asked == 0 and flag.value != 0)


def _ended() -> int | None:
    """A child that has ended and was not waited for, or None. It remains one."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return None if found is None else found.si_pid
