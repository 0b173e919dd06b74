"""The time of a simulation: what happens at which moment, and event loops that live in it."""

from __future__ import annotations

import asyncio
import heapq
from asyncio import events
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator
    from contextvars import Context

T = TypeVar("T")
Handler: TypeAlias = "Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]"

EPOCH = 1_800_000_000
"""The time at which a simulation starts, in seconds since the epoch."""


class World:
    """Calls, in the order of their times; those of one moment in the order of their planning."""

    def __init__(self) -> None:
        self.now = 0.0
        """Seconds since the start."""
        self.trace: list[str] = []
        """Everything that happened, in order: two runs of a seed have the same."""
        self._planned: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._number = 0
        self._entered: WorldLoop | None = None

    def at(self, when: float, call: Callable[..., object], *args: object) -> None:
        """Plan a call."""
        self._number += 1
        heapq.heappush(self._planned, (max(when, self.now), self._number, call, args))

    def after(self, seconds: float, call: Callable[..., object], *args: object) -> None:
        """Plan a call in some seconds."""
        self.at(self.now + seconds, call, *args)

    def run(self, until: float) -> None:
        """Let the time go by."""
        planned = self._planned
        try:
            while planned and planned[0][0] <= until:
                self.now, _, call, args = heapq.heappop(planned)
                call(*args)
        finally:
            self._entered = None
            events._set_running_loop(None)
        self.now = until

    def enter(self, loop: WorldLoop) -> None:
        """Make a loop the running one, until another is: each change is slow."""
        if self._entered is not loop:
            self._entered = loop
            events._set_running_loop(loop)

    def note(self, text: str) -> None:
        """Add a line to the trace."""
        self.trace.append(f"{self.now:.6f} {text}")


class WorldLoop(asyncio.BaseEventLoop):
    """An event loop whose turns the world takes. A `held` loop takes none until it is let go.

    It has what tasks, futures and timeouts use, and nothing that waits for files. A loop of
    asyncio would spend most of the time of a simulation on looking for those.
    """

    def __init__(self, world: World, before: Callable[[], object]) -> None:
        """`before` is called before each turn."""
        super().__init__()
        self._world = world
        self._before = before
        self._ready: list[asyncio.Handle] = []
        self._is_due = False
        self._is_closed = False
        self._handler: Handler = _raise
        self.held = False

    def time(self) -> float:
        """The time of the world."""
        return self._world.now

    def get_debug(self) -> bool:
        """See asyncio."""
        return False

    def is_closed(self) -> bool:
        """See asyncio."""
        return self._is_closed

    def is_running(self) -> bool:
        """See asyncio."""
        return events._get_running_loop() is self

    def close(self) -> None:
        """See asyncio."""
        self._is_closed = True
        self._ready.clear()

    def create_future(self) -> asyncio.Future[Any]:
        """See asyncio."""
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: object = None,
        context: Context | None = None,
    ) -> asyncio.Task[T]:
        """See asyncio."""
        its_name = None if name is None else str(name)
        return asyncio.Task(coro, loop=self, name=its_name, context=context)

    def call_soon(
        self, callback: Callable[..., object], *args: object, context: Context | None = None
    ) -> asyncio.Handle:
        """See asyncio."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        self._wake()
        return handle

    # There are no threads.
    call_soon_threadsafe = call_soon

    def call_later(
        self,
        delay: float,
        callback: Callable[..., object],
        *args: object,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """See asyncio."""
        return self.call_at(self._world.now + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[..., object],
        *args: object,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """See asyncio."""
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._world.at(when, self._ring, handle)
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Do nothing: `_ring` sees it."""

    def set_exception_handler(self, handler: Handler | None) -> None:
        """See asyncio."""
        self._handler = handler or _raise

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """See asyncio."""
        self._handler(self, context)

    def _ring(self, timer: asyncio.TimerHandle) -> None:
        """The time of a timer has come."""
        if not timer._cancelled:
            self._ready.append(timer)
            self._turn()

    def _wake(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._world.at(self._world.now, self._turn)

    def _turn(self) -> None:
        """Run what is due."""
        self._is_due = False
        if self.held or self._is_closed or not self._ready:
            return
        self._before()
        self._world.enter(self)
        ready, self._ready = self._ready, []
        for handle in ready:
            if not handle._cancelled:
                handle._run()

    def let_go(self) -> None:
        """Take turns again."""
        self.held = False
        self._is_due = False
        self._wake()


def _raise(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    raise RuntimeError(context)
