"""The supervisor: Granian's server with another answer to the death of a worker.

Workers are started again by `restart_policy`. An exit is judged in the main thread, after the
handlers of signals that came before it, so that a worker that ended by the signal of a stop did not
fail.

A worker that is told to end while it starts may miss the signal: before its event loop runs, the
signal goes to a handler that it has from its parent, or gets lost in uvloop. So the signal is
repeated; a worker that has handled it ignores the rest (`verve.service.termination`).

This depends on some names of Granian's server class. Where one is gone, Granian's own rule holds.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import multiprocessing.connection
import os
import signal
import sys
import threading
import time
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any

from verve._verve import VerveError
from verve.config import SUPERVISOR
from verve.log import event_log, events
from verve.service.termination import RETIRE
from verve.startup.worker import NO_THREAD

from . import timers, worker_sockets
from .orphans import Orphans
from .restart_policy import LONGEST_FAILURE_PAUSE, RestartPolicy
from .signal_event import SignalEvent
from .worker_sockets import Listeners

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from verve.config import Settings

_granian_logger = logging.getLogger("_granian")

USED_NAMES = (
    "_drop_shared_socket",
    "_respawn_workers",
    "_serve_loop",
    "_spawn_worker",
    "_spawn_workers",
    "_stop_workers",
    "startup",
    "shutdown",
)
ENDED_BY_A_STOP = {0, -signal.SIGTERM, -signal.SIGINT}
REPEAT_SECONDS = 0.5
RETIREMENT_SECONDS = 0.05
"""Time in which connections in use end with an answer, before Granian closes them at a stop."""


class _NeverSoon(dict[int, float]):
    """Granian's times of restarts; it never gives one, so that no restart counts as soon."""

    def get(self, _key: int, default: Any = None) -> Any:  # noqa: ANN401 - dict's own signature
        return default


class _Supervision:
    """Methods that override those of Granian's server class."""

    wrks: list[Any]
    interrupt_children: list[int]
    interrupt_signal: bool
    gave_up: bool
    """Whether the service ends because a worker cannot start."""
    reload_signal: bool
    main_loop_interrupt: SignalEvent
    reload_on_changes: bool
    respawn_failed_workers: bool
    runtime_threads: int
    _ssp: Any
    _shd: Any
    _sso: Any
    settings: Settings
    log_configuration: Mapping[str, Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - Granian's own
        timers.agree(kwargs, self.settings)
        if kwargs.get("log_dictconfig") is None:
            kwargs["log_dictconfig"] = dict(self.log_configuration)
        super().__init__(*args, **kwargs)
        self.main_loop_interrupt = SignalEvent()
        self.respawned_wrks = _NeverSoon()
        self.restart_policy = RestartPolicy()
        self.gave_up = False
        self.listeners = Listeners()
        self.orphans = Orphans()

    def startup(self, *args: Any) -> None:  # noqa: ANN401 - Granian's own
        if self.respawn_failed_workers:
            os.environ[SUPERVISOR] = str(os.getpid())
        self.orphans.watch()
        super().startup(*args)  # type: ignore[misc]

    def _spawn_worker(self, *, idx: int, callback_loader: Callable[[], Any], **extra: Any) -> Any:  # noqa: ANN401 - Granian's own
        """Give the worker its number, and the socket of the worker whose place it takes."""
        if self._keeps_sockets():
            self._shd, self._sso = self.listeners.of(idx, self._ssp.build)
        others = self.listeners.others(idx)
        loader = functools.partial(_load_in_worker, idx + 1, others, callback_loader)
        worker = super()._spawn_worker(idx=idx, callback_loader=loader, **extra)  # type: ignore[misc]
        if isinstance(worker.inner, BaseProcess):
            self.orphans.spare(worker)
            worker.join = functools.partial(_join, worker.inner)
            worker._watcher = functools.partial(self._watch, worker, worker._watcher)  # noqa: SLF001
        return worker

    def _watch(self, worker: Any, stock: Callable[[], None]) -> None:  # noqa: ANN401 - Granian's own
        """Runs in the thread that watches a worker: has the main thread judge its exit.

        A signal to the whole group may end a worker before this process has run its handler, which
        the main thread does before it looks at the worker. Granian's own function would report it
        as an unexpected exit at once.
        """
        if self.reload_on_changes:
            stock()
            return
        _join(worker.inner)
        self.orphans.forget(worker)
        if not worker.interrupt_by_parent:
            self.interrupt_children.append(worker.idx)
            self.main_loop_interrupt.set()

    def _keeps_sockets(self) -> bool:
        """Whether a socket per worker is bound here.

        Not where workers or their runtimes are threads, which would close the sockets of each
        other, nor where Granian has all of them share one: for a Unix socket, and on macOS.
        """
        alone = hasattr(self, "_sso") and self.runtime_threads == 1
        return sys.platform == "linux" and alone and self._ssp is not None

    def _drop_shared_socket(self) -> None:
        if self._keeps_sockets():
            self.listeners.drop_all()
        super()._drop_shared_socket()  # type: ignore[misc]

    def _serve_loop(self, *args: Any) -> None:  # noqa: ANN401 - Granian's own
        try:
            with self.main_loop_interrupt.woken_by_signals():
                super()._serve_loop(*args)  # type: ignore[misc]
        except BaseException as error:
            with contextlib.suppress(SystemExit):
                self.shutdown(1)  # type: ignore[attr-defined]
            _end_all(error)
            raise

    def _spawn_workers(self, *args: Any) -> None:  # noqa: ANN401 - Granian's own
        try:
            super()._spawn_workers(*args)  # type: ignore[misc]
        except BaseException as error:
            self._stop_workers()
            _end_all(error)
            raise

    def _stop_workers(self) -> None:
        ending = list(self.wrks)
        for worker in ending:
            if not worker.is_alive() and not self._ended_by_this_stop(worker):
                _report_exit(worker)
            # A signal to the whole group may end it before Granian does.
            worker.interrupt_by_parent = True
            _retire(worker)
        time.sleep(RETIREMENT_SECONDS)
        stopped = threading.Event()

        def repeat_signal() -> None:
            while not stopped.wait(REPEAT_SECONDS):
                for worker in list(self.wrks):
                    if worker.is_alive():
                        worker.terminate()

        thread = threading.Thread(target=repeat_signal, name="verve-stop", daemon=True)
        # Without a thread, a worker that misses the signal is killed when its time is over.
        with contextlib.suppress(RuntimeError):
            thread.start()
        try:
            super()._stop_workers()  # type: ignore[misc]
        finally:
            stopped.set()
            if thread.ident is not None:
                thread.join()
        clean = {worker.idx for worker in ending if self._ended_by_this_stop(worker)}
        self.interrupt_children[:] = [
            index for index in self.interrupt_children if index not in clean
        ]

    def _ended_by_this_stop(self, worker: Any) -> bool:  # noqa: ANN401 - Granian's own
        """Whether it ended by the signal that stops the service, and so did not fail."""
        is_stop = self.interrupt_signal and not self.gave_up
        return is_stop and _exit_status(worker) in ENDED_BY_A_STOP

    def _respawn_workers(
        self,
        workers: Iterable[int],
        spawn_target: Callable[..., Any],
        target_loader: Callable[..., Any],
        delay: float = 0,
    ) -> None:
        replace = super()._respawn_workers  # type: ignore[misc]

        def respawn(indices: list[int]) -> None:
            replace(indices, spawn_target, target_loader, delay)

        if not delay:
            self._replace_dead(workers, respawn)
            return
        # A reload, or a worker at the end of its lifetime: none has died.
        for worker in workers:
            if self.interrupt_signal:  # a stop does not wait for the rest of a reload
                return
            with _retiring(self.wrks[worker], delay):
                respawn([worker])

    def _replace_dead(self, workers: Iterable[int], respawn: Callable[[list[int]], None]) -> None:
        """Start dead workers again, each after its own pause, until none is dead."""
        # A death that was handled before its turn came: that worker lives by now.
        dead = [worker for worker in workers if not self.wrks[worker].is_alive()]
        due: dict[int, float] = {}
        while not (self.interrupt_signal or self.reload_signal):
            for worker in dict.fromkeys([*dead, *self._dead()]):
                if worker not in due:
                    due[worker] = self._due(worker)
            now = time.monotonic()
            for worker in [worker for worker, moment in due.items() if moment <= now]:
                respawn([worker])
                del due[worker]
            dead = []
            if not due and not self._dead():
                break
            pause = min(due.values(), default=now) - now
            self.main_loop_interrupt.wait(max(0.0, min(pause, LONGEST_FAILURE_PAUSE)))
            self.main_loop_interrupt.clear()
        if not self.interrupt_signal:
            # Those that were handled here would make a failure of the next stop.
            self.interrupt_children[:] = [] if self.reload_signal else self._dead()
        if self.interrupt_children or self.interrupt_signal or self.reload_signal:
            self.main_loop_interrupt.set()

    def _dead(self) -> list[int]:
        return [
            worker.idx
            for worker in self.wrks
            if not worker.interrupt_by_parent and not worker.is_alive()
        ]

    def _due(self, index: int) -> float:
        """When the worker is to be started again: never, if it cannot start."""
        worker = self.wrks[index]
        code = _exit_status(worker)
        _report_exit(worker)
        status = f"signal {-code}" if code < 0 else f"status {code}"
        pause = self.restart_policy.pause_after(index, code, time.monotonic() - worker.birth)
        if pause is None:
            events.WORKER_FAILED.emit(worker=index + 1, exit_status=status)
            self.gave_up = True
            # Granian ends with status 1 when a death is left unhandled.
            self.interrupt_children.append(index)
            self.interrupt_signal = True
            self.main_loop_interrupt.set()
            return math.inf
        events.WORKER_RESPAWNED.emit(worker=index + 1, exit_status=status)
        self.listeners.drop(index)
        return time.monotonic() + pause


def _exit_status(worker: Any) -> int:  # noqa: ANN401 - Granian's own
    """The exit status, negative by a signal.

    A thread, on a Python without the GIL, has none: it ended by itself.
    """
    return getattr(worker.inner, "exitcode", None) or 0


def _report_exit(worker: Any) -> None:  # noqa: ANN401 - Granian's own
    """Log the exit as Granian does, once."""
    if not getattr(worker, "is_reported", False):
        worker.is_reported = True
        _granian_logger.error("Unexpected exit from worker-%d", worker.idx + 1)


def _end_all(error: BaseException) -> None:
    """Kill all workers with the server. Raises `VerveError` where the host denied a thread.

    Granian does not know a process that it started and could not watch.
    """
    for process in multiprocessing.active_children():
        process.kill()
    if isinstance(error, BlockingIOError) or str(error) == NO_THREAD:
        raise VerveError(
            f"the host denies this user another process or thread: {error}; hint: raise "
            "`ulimit -u`, or the `TasksMax` or pids limit of its control group"
        ) from error


def _retire(worker: Any) -> None:  # noqa: ANN401 - Granian's own
    """Have the worker end each connection with its answer, which proxies and clients understand.

    When Granian ends, it closes the connections that it takes for idle, and cuts requests that are
    on their way. A worker that is a thread ends that way.
    """
    process = worker.inner
    if isinstance(process, BaseProcess) and process.pid is not None and process.is_alive():
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, RETIRE)


@contextlib.contextmanager
def _retiring(worker: Any, delay: float) -> Iterator[None]:  # noqa: ANN401 - Granian's own
    """Have the worker retire after half of the `delay` until it is told to end."""
    timer = threading.Timer(delay / 2, _retire, [worker])
    with contextlib.suppress(RuntimeError):  # without a thread Granian ends it by itself
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _join(process: BaseProcess, timeout: float | None = None) -> None:
    """`Process.join`, after which the process is not alive.

    A thread of Granian waits for it too. The second of the two takes a process that has ended for
    alive until the first has noted its status, and Granian warns that it kills the process.
    """
    if multiprocessing.connection.wait([process.sentinel], timeout):
        while process.is_alive():
            time.sleep(0.001)


def _load_in_worker(worker: int, others: list[int], loader: Callable[[], Any]) -> Any:  # noqa: ANN401 - Granian's own
    """Load the application; runs in the worker."""
    worker_sockets.close(others)
    if multiprocessing.parent_process() is not None:  # otherwise it is one thread of several
        event_log.number_worker(worker)
    return loader()


def can_supervise(server: type[Any]) -> bool:
    """Whether this Granian still has the names that `supervised` uses."""
    return all(callable(getattr(server, name, None)) for name in USED_NAMES)


def supervised(
    server: type[Any], settings: Settings, log_configuration: Mapping[str, Any]
) -> type[Any]:
    """The server class under this supervision; the log configuration is a default."""
    names = {"settings": settings, "log_configuration": log_configuration}
    return type("Supervised", (_Supervision, server), names)
