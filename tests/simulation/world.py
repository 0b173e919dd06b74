"""The time of a simulation: what happens at which moment, and event loops that live in it."""

from __future__ import annotations

import asyncio
import heapq
import selectors
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

EPOCH = 1_800_000_000
"""The time at which a simulation starts, in seconds since the epoch."""


class World:
    """Calls, in the order of their times; those of one moment in the order of their planning."""

    def __init__(self) -> None:
        self.now = 0.0
        """Seconds since the start."""
        self.trace: list[str] = []
        """Everything that happened, in order: two runs of a seed have the same."""
        self._planned: list[tuple[float, int, Callable[[], object]]] = []
        self._number = 0

    def at(self, when: float, call: Callable[[], object]) -> None:
        """Plan a call."""
        self._number += 1
        heapq.heappush(self._planned, (max(when, self.now), self._number, call))

    def after(self, seconds: float, call: Callable[[], object]) -> None:
        """Plan a call in some seconds."""
        self.at(self.now + seconds, call)

    def run(self, until: float) -> None:
        """Let the time go by."""
        while self._planned and self._planned[0][0] <= until:
            self.now, _, call = heapq.heappop(self._planned)
            call()
        self.now = until

    def note(self, text: str) -> None:
        """Add a line to the trace."""
        self.trace.append(f"{self.now:.6f} {text}")


class _NothingReady(selectors.SelectSelector):
    """No file is ever ready: all that a loop hears of comes from the world."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return at once."""
        del timeout
        return []


class WorldLoop(asyncio.SelectorEventLoop):
    """An event loop whose turns the world takes. A `held` loop takes none until it is let go."""

    def __init__(self, world: World, before: Callable[[], object]) -> None:
        """`before` is called before each turn."""
        self._world = world
        self._before = before
        self._is_due = False
        self.held = False
        super().__init__(_NothingReady())

    def time(self) -> float:
        """The time of the world."""
        return self._world.now

    def call_soon(
        self, callback: Callable[..., object], *args: object, context: Context | None = None
    ) -> asyncio.Handle:
        """See asyncio."""
        self._wake()
        return super().call_soon(callback, *args, context=context)

    def call_soon_threadsafe(
        self, callback: Callable[..., object], *args: object, context: Context | None = None
    ) -> asyncio.Handle:
        """As `call_soon`: there are no threads."""
        return self.call_soon(callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[..., object],
        *args: object,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """See asyncio."""
        self._world.at(when, self.turn)
        return super().call_at(when, callback, *args, context=context)

    def turn(self) -> None:
        """Run what is due."""
        self._is_due = False
        if self.held or self.is_closed():
            return
        self._before()
        # A loop that is stopped before it runs takes one turn.
        self.stop()
        self.run_forever()

    def _wake(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._world.at(self._world.now, self.turn)

    def let_go(self) -> None:
        """Take turns again."""
        self.held = False
        self._is_due = False
        self._wake()
