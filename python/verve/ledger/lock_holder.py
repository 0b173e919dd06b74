"""Takes the ledger back from a former leader that was stopped inside a transaction.

SQLite's locks belong to a process, and a stopped process keeps them. Under `verve serve` the new
leader kills it: a worker that is killed is started again at once, and all that it acknowledged is
in the segment. Elsewhere killing a worker could end the server, so the ledger waits.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from verve.clock import CLOCK, Clock
from verve.config import SUPERVISOR

if TYPE_CHECKING:
    from collections.abc import Mapping

STOPPED_SECONDS = 0.5
"""Seconds that a stopped holder has to continue."""
BUSY_SECONDS = 10.0
"""Seconds that a running holder has to finish: a disk may be slow."""


def holders(ledger: Path, proc: Path = Path("/proc")) -> set[int]:
    """Return the processes that hold a write lock on a file of the ledger.

    It reads the kernel's list. `F_GETLK` would need the file open, and closing it again would drop
    SQLite's own locks in this process.
    """
    inodes = set()
    for suffix in ("", "-shm"):
        try:
            inodes.add(ledger.with_name(ledger.name + suffix).stat().st_ino)
        except OSError:
            continue
    found: set[int] = set()
    try:
        lines = (proc / "locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return found
    for line in lines:
        # 7: POSIX  ADVISORY  WRITE 4711 fe:00:1054 120 120; a process that waits has an arrow.
        match line.split():
            case [_, "POSIX", _, "WRITE", process, file, *_] if (
                process.isdecimal() and int(file.rpartition(":")[2]) in inodes
            ):
                found.add(int(process))
    return found


def parent_and_state(process: int, proc: Path = Path("/proc")) -> tuple[int, str] | None:
    """Return the parent of a process and its state (`T`: stopped); None if it is gone."""
    try:
        text = (proc / str(process) / "stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    state, parent = text.rpartition(")")[2].split()[:2]
    return int(parent), state


@dataclass(slots=True)
class HolderWatch:
    """Watches which process locks the ledger, and kills a worker that does so for long.

    `supervisor` is the process of `verve serve` that starts the workers; None: kill nothing.
    """

    ledger: Path
    supervisor: int | None
    clock: Clock = CLOCK
    _suspect: int = 0
    _since: float = 0.0

    @classmethod
    def of_this_process(
        cls, ledger: Path, environ: Mapping[str, str] = os.environ, clock: Clock = CLOCK
    ) -> HolderWatch:
        """Return a watch that may kill if this process is a worker of `verve serve`."""
        named = environ.get(SUPERVISOR, "")
        # The variable may have been inherited through other processes.
        ours = named.isdecimal() and int(named) == os.getppid()
        return cls(ledger, os.getppid() if ours else None, clock)

    def evict(self) -> int | None:
        """Kill a worker that held the lock for too long, and return its id; else None.

        To be called each time that the ledger was locked.
        """
        suspects = {process for process in holders(self.ledger) if self._is_sibling(process)}
        if self._suspect not in suspects:
            self._suspect = min(suspects, default=0)
            self._since = self.clock.monotonic()
        if not self._suspect or not hasattr(os, "pidfd_open"):
            return None
        try:
            handle = os.pidfd_open(self._suspect)
        except OSError:
            return None
        try:
            # Checked again: from here on the handle cannot refer to another process.
            facts = parent_and_state(self._suspect)
            if facts is None or not self._is_sibling(self._suspect):
                return None
            patience = STOPPED_SECONDS if facts[1] in {"T", "t"} else BUSY_SECONDS
            held = self._suspect in holders(self.ledger)
            if not held or self.clock.monotonic() - self._since < patience:
                return None
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        except OSError:
            return None
        finally:
            os.close(handle)
        return self._suspect

    def _is_sibling(self, process: int) -> bool:
        facts = None if process == os.getpid() else parent_and_state(process)
        return self.supervisor is not None and facts is not None and facts[0] == self.supervisor
