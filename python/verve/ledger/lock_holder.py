"""A former leader that was stopped inside a ledger transaction, and how to get the ledger back.

SQLite's locks belong to a process, and one that is stopped keeps them. Under `verve serve` a worker
that is killed is started again at once, and all that it acknowledged is in the segment; so the
new leader kills it. Elsewhere killing a worker could end the server: there the ledger waits.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from verve.config import SUPERVISOR

if TYPE_CHECKING:
    from collections.abc import Mapping

STOPPED_SECONDS = 0.5
"""How long a stopped holder is given to go on."""
BUSY_SECONDS = 10.0
"""How long a holder is given that is not stopped: a disk may be slow."""


def holders(ledger: Path, proc: Path = Path("/proc")) -> set[int]:
    """The processes that hold a lock for writing on a file of the ledger, as the kernel tells.

    The kernel's list is read rather than asked for with `F_GETLK`: that needs the file open, and
    closing it again would drop SQLite's own locks in this process.
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
        # 7: POSIX  ADVISORY  WRITE 4711 fe:00:1054 120 120; those who wait have an arrow in front.
        match line.split():
            case [_, "POSIX", _, "WRITE", process, file, *_] if (
                process.isdecimal() and int(file.rpartition(":")[2]) in inodes
            ):
                found.add(int(process))
    return found


def parent_and_state(process: int, proc: Path = Path("/proc")) -> tuple[int, str] | None:
    """The parent of a process and its state (`T`: stopped), or None if it is gone."""
    try:
        text = (proc / str(process) / "stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    state, parent = text.rpartition(")")[2].split()[:2]
    return int(parent), state


@dataclass(slots=True)
class HolderWatch:
    """Watches who keeps the ledger from this leader, and ends a worker that does so for long."""

    ledger: Path
    supervisor: int | None
    _suspect: int = 0
    _since: float = 0.0

    @classmethod
    def of_this_process(cls, ledger: Path, environ: Mapping[str, str] = os.environ) -> HolderWatch:
        """One that may act if this process is a worker of `verve serve`."""
        named = environ.get(SUPERVISOR, "")
        # A variable that was inherited through other processes says nothing about this one.
        ours = named.isdecimal() and int(named) == os.getppid()
        return cls(ledger, os.getppid() if ours else None)

    def evict(self) -> int | None:
        """To be called when the ledger was locked: the process that was killed, if one was."""
        suspects = {process for process in holders(self.ledger) if self._is_sibling(process)}
        if self._suspect not in suspects:
            self._suspect = min(suspects, default=0)
            self._since = time.monotonic()
        if not self._suspect or not hasattr(os, "pidfd_open"):
            return None
        try:
            handle = os.pidfd_open(self._suspect)
        except OSError:
            return None
        try:
            # Looked at again: from here on the handle cannot come to mean another process.
            facts = parent_and_state(self._suspect)
            if facts is None or not self._is_sibling(self._suspect):
                return None
            patience = STOPPED_SECONDS if facts[1] in {"T", "t"} else BUSY_SECONDS
            held = self._suspect in holders(self.ledger)
            if not held or time.monotonic() - self._since < patience:
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
