"""The fast path: answer an accept on the thread that Granian calls first, without the event loop.

Granian's scheduler calls a schedule function for each request, which hands a coroutine to the
event loop. That function is built in the worker, after the application was imported and started,
by one of two private functions of `granian._futures`, looked up by name at that moment. `install`
puts a function around both of them that hands back the one of `_verve.FastPath`, which answers
accepts by itself and passes everything else to the function that Granian built.

That happens only where it changes nothing but the speed: for a Granian that it was tested with,
and for a scheduler that would run exactly this application's RSGI method. With the access log on,
under ASGI, or inside another application there is something else around that method, and the
fast path steps aside.
"""

from __future__ import annotations

import functools
import inspect
import logging
import sys
from typing import TYPE_CHECKING, Any

from verve._verve import FastPath
from verve.log.background import Notices
from verve.log.event_log import Event, logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from .worker import Worker

    Watcher = Any
    Schedule = Callable[[Watcher], None]

TESTED_GRANIAN = frozenset({"2.8.7", "2.8.9"})
"""The versions that the contract tests ran against, fast path included."""

# The functions of `granian._futures` that build a schedule function, for both of its task
# implementations, with the names of their parameters. The callback comes last.
_BUILDERS = {
    "_cbsched_schedule": ["loop", "ctx", "run", "cb"],
    "_cbsched_aioschedule": ["loop", "ctx", "cb"],
}

_MARK = "_verve_fast_path"

FAST_PATH_ON = Event(
    "fast_path.on", logging.INFO, "Accepts are answered without the event loop", ()
)
FAST_PATH_OFF = Event(
    "fast_path.off", logging.INFO, "Accepts take the event loop, as set: {reason}", ("reason",)
)
FAST_PATH_UNAVAILABLE = Event(
    "fast_path.unavailable", logging.WARNING, "Accepts take the event loop: {reason}", ("reason",)
)
FAST_PATH_FAILED = Event(
    "fast_path.failed",
    logging.ERROR,
    "A request could not be answered on the fast path, an accept is counted all the same: {error}",
    ("error",),
)


def install(callback: Callable[..., object], worker: Worker) -> None:
    """Put the fast path in reach of the schedulers that this process builds from now on.

    To be called by Granian, between its import and its first scheduler, once the worker has its
    counter. `callback` is the application's RSGI method.
    """
    futures = sys.modules["granian._futures"]
    if worker.settings is None or hasattr(futures, _MARK):
        return
    if not worker.settings.fast_path:
        FAST_PATH_OFF.emit(reason="`VERVE_FAST_PATH=off`")
        return
    if worker.confirms:
        FAST_PATH_OFF.emit(reason="`VERVE_ACK=store`")
        return
    reason = unfit(futures, sys.modules["granian"].__version__)
    if reason is not None:
        FAST_PATH_UNAVAILABLE.emit(reason=reason)
        return
    for name in _BUILDERS:
        setattr(futures, name, _around(getattr(futures, name), callback, worker))
    # Where workers are threads, each of them comes here.
    setattr(futures, _MARK, True)


def unfit(futures: ModuleType, version: str) -> str | None:
    """Why the fast path cannot be used with this Granian, or None if it can."""
    if version not in TESTED_GRANIAN:
        return f"not tested with this Granian: `{version}`"
    for name, parameters in _BUILDERS.items():
        builder = getattr(futures, name, None)
        if builder is None or list(inspect.signature(builder).parameters) != parameters:
            return f"Granian builds its schedule functions in another way: `{name}`"
    return None


def _around(
    build: Callable[..., Schedule], callback: Callable[..., object], worker: Worker
) -> Callable[..., Schedule]:
    @functools.wraps(build)
    def built(*arguments: Any) -> Schedule:  # noqa: ANN401 - Granian's, passed on unseen
        stock = build(*arguments)
        try:
            return _choose(stock, _target(arguments[-1]), callback, worker)
        except Exception:  # noqa: BLE001 - private API may surprise in any way
            # Whatever went wrong here, Granian's own function is right.
            logger.exception("the fast path could not be set up")
            return stock

    return built


def _choose(
    stock: Schedule, target: object, callback: Callable[..., object], worker: Worker
) -> Schedule:
    if worker.counter is None:
        return stock
    if target != callback:
        logs = getattr(target, "__wrapped__", None) == callback
        reason = "Granian's access log is on" if logs else "another application is around this one"
        FAST_PATH_UNAVAILABLE.emit(reason=reason)
        return stock
    worker.counter.set_worker_figure("fast_path", 1)
    FAST_PATH_ON.emit()
    sender = None if worker.callbacks is None else worker.callbacks.sender
    # Its thread takes every request: it must not wait for a log line.
    notices = Notices()

    def failed(error: BaseException) -> None:
        notices.put(FAST_PATH_FAILED, error=f"{type(error).__name__}: {error}")

    path = FastPath(worker.counter, sender, stock, failed)
    # What ends a connection is in Python, and a worker that retires has few requests left.
    worker.at_retirement = path.step_aside
    if worker.retiring:
        path.step_aside()
    return path.schedule


def _target(watched: Callable[..., object]) -> object:
    """What the coroutine function that Granian schedules awaits: it is in its closure."""
    return inspect.getclosurevars(watched).nonlocals.get("inner")
