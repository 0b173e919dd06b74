"""The drain of a service: it counts on, and is not ready for more requests.

`verve drain` names a start of the service in the segment. So all of its workers see it at once,
also those that take the place of dead ones, and a later start does not drain.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
from pathlib import Path
from typing import TYPE_CHECKING

from verve.log import events

if TYPE_CHECKING:
    from collections.abc import Callable

    from verve._verve import Counter
    from verve.cluster.replication.sender import IdSender
    from verve.request.body_budget import Bodies

    from .termination import Termination


def start_of_service() -> int:
    """The number of this start of the service, the same in all of its workers; never 0.

    It stands for the process that starts the workers, or for this one if none does. The process
    that started later has the larger number. Without `/proc` the order is arbitrary, and a later
    process of the same id has the same number.
    """
    parent = multiprocessing.parent_process()
    process = os.getpid() if parent is None or parent.pid is None else parent.pid
    # The id of a process recurs, in a container at each start; the time of its start does not.
    started = "".join(_read(f"/proc/{process}/stat").rpartition(")")[2].split()[19:20])
    ticks = int(started) if started.isascii() and started.isdigit() else 0
    boot = _read("/proc/sys/kernel/random/boot_id").strip()
    digest = hashlib.blake2b(f"{boot} {process} {started}".encode(), digest_size=3).digest()
    return (ticks % (1 << 40)) << 24 | int.from_bytes(digest, "little") or 1


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


class Drain:
    """Whether the service of this worker drains, as `verve drain` asks."""

    def __init__(self, counter: Counter, start: int | None = None) -> None:
        """`start` is the number of this start of the service."""
        self._counter = counter
        self._start = start_of_service() if start is None else start

    def announce(self) -> None:
        """Let `verve drain` find this start, and the worker."""
        self._counter.drain.announce(self._start)
        self._counter.worker_figures.set("serving", 1)

    def leave(self) -> None:
        """Take this worker back: it ends in order. The last one of a start ends its drain."""
        self._counter.drain.leave()

    def is_on(self) -> bool:
        """Whether the service drains at present; reads one word of the segment."""
        return self._counter.drain.drained() == self._start


class DrainReport:
    """Reports the drain from a worker: what is open, to `verve drain --wait`, and its log lines.

    What is open is written from time to time, while the worker drains: a request writes nothing.
    """

    def __init__(
        self, counter: Counter, drain: Drain, termination: Termination, bodies: Bodies
    ) -> None:
        self._figures = counter.worker_figures
        self._drain = drain
        self._termination = termination
        self._bodies = bodies
        self._was_on = drain.is_on()
        self._has_reported = False
        self.confirmer: IdSender | None = None
        """Confirms ids by the store; None where no request waits for it."""
        self.at_begin: Callable[[], None] = lambda: None
        """Called when a drain begins."""

    def step(self, *, leads: bool) -> None:
        """Write what is open; the leader logs the begin and the end of a drain."""
        is_on = self._drain.is_on()
        if is_on or self._termination.draining:
            waits = 0 if self.confirmer is None else self.confirmer.waits()
            self._figures.set("open_batches", self._bodies.open)
            self._figures.set("store_waits", waits)
            # Last: it says that the other two are of this drain.
            self._figures.set("draining", 1)
            self._has_reported = True
        elif self._has_reported:
            for name in ("draining", "open_batches", "store_waits"):
                self._figures.set(name, 0)
            self._has_reported = False
        if is_on and not self._was_on:
            self.at_begin()
        if leads and is_on and not self._was_on:
            events.SERVICE_DRAINING.emit()
        if leads and self._was_on and not is_on:
            events.SERVICE_DRAIN_UNDONE.emit()
        self._was_on = is_on
