"""The fast path: answer an accept on the thread that Granian calls first, without the event loop.

Granian's scheduler calls a schedule function for each request, which hands a coroutine to the
event loop. Granian builds that function in the worker, after the application was imported and
started, by one of two private functions of `granian._futures`, which it looks up by name then.
`install` wraps both of them: the wrapper returns the schedule function of `_verve.FastPath`, which
answers accepts itself and passes all other requests to the function that Granian built.

It does so only where nothing but the speed changes: for a Granian that it was tested with, and for
a scheduler that would run exactly this application's RSGI method. With the access log on, under
ASGI, or inside another application there is something else around that method, and the fast path
is not used.
"""

from __future__ import annotations

import functools
import inspect
import sys
from typing import TYPE_CHECKING, Any

from verve._verve import FastPath
from verve.log import events
from verve.log.event_log import logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from .running import RunningService

    Watcher = Any
    Schedule = Callable[[Watcher], None]

TESTED_GRANIAN = frozenset({"2.8.7", "2.8.9"})
"""Versions of Granian that the contract tests ran with, the fast path included."""

# The functions of `granian._futures` that build a schedule function, for both of its task
# implementations, with the names of their parameters. The callback comes last.
_BUILDERS = {
    "_cbsched_schedule": ["loop", "ctx", "run", "cb"],
    "_cbsched_aioschedule": ["loop", "ctx", "cb"],
}

_MARK = "_verve_fast_path"


def install(callback: Callable[..., object], service: RunningService) -> None:
    """Give the fast path to the schedulers that this process builds from now on.

    To be called in a worker of Granian before its first scheduler is built. `callback` is the
    application's RSGI method.
    """
    futures = sys.modules["granian._futures"]
    if hasattr(futures, _MARK):
        return
    if not service.settings.fast_path:
        events.FAST_PATH_OFF.emit(reason="`VERVE_FAST_PATH=off`")
        return
    if service.confirmer is not None:
        events.FAST_PATH_OFF.emit(reason="`VERVE_ACK=store`")
        return
    reason = unusable_because(futures, sys.modules["granian"].__version__)
    if reason is not None:
        events.FAST_PATH_UNAVAILABLE.emit(reason=reason)
        return
    for name in _BUILDERS:
        setattr(futures, name, _around(getattr(futures, name), callback, service))
    # Where workers are threads, each of them calls this function.
    setattr(futures, _MARK, True)


def unusable_because(futures: ModuleType, version: str) -> str | None:
    """Why the fast path cannot be used with this Granian, or None if it can."""
    if version not in TESTED_GRANIAN:
        return f"not tested with this Granian: `{version}`"
    for name, parameters in _BUILDERS.items():
        builder = getattr(futures, name, None)
        if builder is None or list(inspect.signature(builder).parameters) != parameters:
            return f"Granian builds its schedule functions in another way: `{name}`"
    return None


def _around(
    build: Callable[..., Schedule], callback: Callable[..., object], service: RunningService
) -> Callable[..., Schedule]:
    @functools.wraps(build)
    def built(*arguments: Any) -> Schedule:  # noqa: ANN401 - Granian's, passed on unseen
        stock = build(*arguments)
        try:
            return _choose(stock, _target(arguments[-1]), callback, service)
        except Exception:  # noqa: BLE001 - private API may surprise in any way
            # Granian's own function works whatever went wrong here.
            logger.exception("the fast path could not be set up")
            return stock

    return built


def _choose(
    stock: Schedule, target: object, callback: Callable[..., object], service: RunningService
) -> Schedule:
    if target != callback:
        logs = getattr(target, "__wrapped__", None) == callback
        reason = "Granian's access log is on" if logs else "another application is around this one"
        events.FAST_PATH_UNAVAILABLE.emit(reason=reason)
        return stock
    service.counter.worker_figures.set("fast_path", 1)
    events.FAST_PATH_ON.emit()

    def failed(error: BaseException) -> None:
        events.FAST_PATH_FAILED.emit(error=f"{type(error).__name__}: {error}")

    path = FastPath(service.counter, service.callback_sender, stock, failed)
    # Only the path through Python ends connections, and a worker that retires has few requests.
    service.termination.at_retirement(path.step_aside)
    return path.schedule


def _target(watched: Callable[..., object]) -> object:
    """The function that the scheduled coroutine function awaits, from its closure."""
    return inspect.getclosurevars(watched).nonlocals.get("inner")
