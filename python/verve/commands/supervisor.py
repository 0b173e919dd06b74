"""Granian with another answer to the death of a worker.

Granian gives up when a worker dies twice within 5.5 seconds. Its reason is a worker that cannot
start; but one that was killed (by the kernel for want of memory, by an operator, by a bug in a
library) did start, and the others still serve. So here the exit status decides: a worker that ended
by a signal is always started again, after a growing pause if it dies soon each time; one that ended
by itself soon after its start, twice in a row, ends the server.

And a worker that is told to end while it starts may miss it: before its event loop runs, the signal
goes to a handler that it has from its parent, or gets lost in uvloop. So it is told again; one that
has heard it ignores the rest (`verve.termination`).

This leans on some names of Granian's server class. Where one is gone, Granian's own rule holds.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import threading
import time
from typing import TYPE_CHECKING, Any

from verve import events, log
from verve.config import SUPERVISOR

from . import timers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from verve.config import Settings

LEANS_ON = (
    "_respawn_workers",
    "_serve_loop",
    "_spawn_worker",
    "_stop_workers",
    "startup",
    "shutdown",
)
SOON = 5.5
"""A worker that lives no longer than this died soon. Granian's own figure."""
LONGEST_PAUSE = 2.0
TOLD_AGAIN_EVERY = 0.5


class Deaths:
    """What is known of the deaths of the workers, and what follows from the next one."""

    def __init__(self) -> None:
        self._soon: dict[int, int] = {}
        self._failures: dict[int, int] = {}

    def pause_after(self, worker: int, status: int, age: float) -> float | None:
        """Seconds to wait before the worker is started again; None: it cannot start, give up.

        `status` is negative if a signal ended it; `age` is how long it lived, in seconds.
        """
        soon = age < SOON
        self._soon[worker] = self._soon.get(worker, 0) + 1 if soon else 0
        failed = soon and status >= 0
        self._failures[worker] = self._failures.get(worker, 0) + 1 if failed else 0
        if self._failures[worker] > 1:
            return None
        return min(LONGEST_PAUSE, 0.05 * max(0, self._soon[worker] - 1))


class _NeverSoon(dict[int, float]):
    """Granian's note of when it last started a worker again, which never says that it was soon."""

    def get(self, _key: int, default: Any = None) -> Any:  # noqa: ANN401 - dict's own signature
        return default


class _Supervision:
    """What is laid over Granian's server class."""

    wrks: list[Any]
    interrupt_children: list[int]
    interrupt_signal: bool
    main_loop_interrupt: threading.Event
    respawn_failed_workers: bool
    settings: Settings
    log_configuration: Mapping[str, Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - Granian's own
        timers.agree(kwargs, self.settings)
        if kwargs.get("log_dictconfig") is None:
            kwargs["log_dictconfig"] = dict(self.log_configuration)
        super().__init__(*args, **kwargs)
        self.respawned_wrks = _NeverSoon()
        self.deaths = Deaths()

    def startup(self, *args: Any) -> None:  # noqa: ANN401 - Granian's own
        if self.respawn_failed_workers:
            os.environ[SUPERVISOR] = str(os.getpid())
        super().startup(*args)  # type: ignore[misc]

    def _spawn_worker(self, *, idx: int, callback_loader: Callable[[], Any], **extra: Any) -> Any:  # noqa: ANN401 - Granian's own
        """Have the worker know its number, which Granian tells it in a variable of its own only."""
        loader = functools.partial(_numbered, idx + 1, callback_loader)
        return super()._spawn_worker(idx=idx, callback_loader=loader, **extra)  # type: ignore[misc]

    def _serve_loop(self, *args: Any) -> None:  # noqa: ANN401 - Granian's own
        try:
            super()._serve_loop(*args)  # type: ignore[misc]
        except BaseException:
            # Whatever happened: no worker outlives the server.
            with contextlib.suppress(SystemExit):
                self.shutdown(1)  # type: ignore[attr-defined]
            raise

    def _stop_workers(self) -> None:
        stopped = threading.Event()

        def tell_again() -> None:
            while not stopped.wait(TOLD_AGAIN_EVERY):
                for worker in list(self.wrks):
                    if worker.is_alive():
                        worker.terminate()

        thread = threading.Thread(target=tell_again, name="verve-stop", daemon=True)
        thread.start()
        try:
            super()._stop_workers()  # type: ignore[misc]
        finally:
            stopped.set()
            thread.join()

    def _respawn_workers(
        self,
        workers: Iterable[int],
        spawn_target: Callable[..., Any],
        target_loader: Callable[..., Any],
        delay: float = 0,
    ) -> None:
        respawn = super()._respawn_workers  # type: ignore[misc]
        if delay:  # a reload, or a worker that lived long enough: nobody died
            respawn(workers, spawn_target, target_loader, delay)
            return
        for worker in dict.fromkeys([*workers, *self._dead()]):
            if self.wrks[worker].is_alive():
                continue  # its death was seen and answered before it was told of
            if not self._wait_to_respawn(worker):
                return
            respawn([worker], spawn_target, target_loader)
        # Granian clears its list and its event one after the other: a death in between is lost.
        if missed := self._dead():
            self.interrupt_children.extend(missed)
            self.main_loop_interrupt.set()

    def _dead(self) -> list[int]:
        return [
            worker.idx
            for worker in self.wrks
            if not worker.interrupt_by_parent and not worker.is_alive()
        ]

    def _wait_to_respawn(self, index: int) -> bool:
        worker = self.wrks[index]
        # A thread, on a Python without the GIL, has no exit status: it ended by itself.
        code: int = getattr(worker.inner, "exitcode", None) or 0
        status = f"signal {-code}" if code < 0 else f"status {code}"
        pause = self.deaths.pause_after(index, code, time.monotonic() - worker.birth)
        if pause is None:
            events.WORKER_FAILED.emit(worker=index + 1, status=status)
            # Granian ends with status 1 when a death is left unanswered.
            self.interrupt_children.append(index)
            self.interrupt_signal = True
            self.main_loop_interrupt.set()
            return False
        events.WORKER_RESPAWNED.emit(worker=index + 1, status=status)
        if pause:
            # Cut short by a signal to stop, and by the death of another worker.
            self.main_loop_interrupt.wait(pause)
        return not self.interrupt_signal


def _numbered(worker: int, loader: Callable[[], Any]) -> Any:  # noqa: ANN401 - Granian's own
    """Runs in the worker: loads the application."""
    if multiprocessing.parent_process() is not None:  # else it is a thread among others
        log.number_worker(worker)
    return loader()


def can_supervise(server: type[Any]) -> bool:
    """Whether this Granian still has what `supervised` leans on."""
    return all(callable(getattr(server, name, None)) for name in LEANS_ON)


def supervised(
    server: type[Any], settings: Settings, log_configuration: Mapping[str, Any]
) -> type[Any]:
    """The server class with this module's rule, and a log configuration for want of another."""
    names = {"settings": settings, "log_configuration": log_configuration}
    return type("Supervised", (_Supervision, server), names)
