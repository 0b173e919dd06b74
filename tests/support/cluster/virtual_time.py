"""An event loop whose time jumps to the next timer, and a machine that has only that time."""

from __future__ import annotations

import asyncio
import random
import selectors
from typing import TYPE_CHECKING, TypeVar

from tests.support.rig import no_wait
from verve.cluster.runtime.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

EPOCH = 1_800_000_000
"""The wall clock when the time of a loop is 0, in seconds."""


class _NoWaiting(selectors.SelectSelector):
    """Hands each wait to the loop, and finds nothing ready: no file and no thread wakes it."""

    waited: Callable[[float], None]

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Let the time go by at once."""
        if timeout is None:
            raise RuntimeError("the loop would wait forever")
        self.waited(timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop that never waits. `clocks` are advanced with it, in seconds."""

    def __init__(self) -> None:
        selector = _NoWaiting()
        selector.waited = self._advance
        self._now = 0.0
        self._idle = 0
        self.clocks: list[Callable[[float], None]] = []
        super().__init__(selector)

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._now

    def _advance(self, seconds: float) -> None:
        self._idle = 0 if seconds > 0 else self._idle + 1
        if self._idle > 100_000:
            raise RuntimeError(f"the time stands still at {self._now}")
        if seconds > 0:
            self._now += seconds
            for advance in self.clocks:
                advance(seconds)


def machine(loop: VirtualLoop, name: str, seed: int) -> Machine:
    """A machine without threads, on the time of `loop`."""

    async def inline(call: Callable[..., T], /, *args: object) -> T:
        return call(*args)

    return Machine(
        monotonic=loop.time,
        wall_ns=lambda: int((EPOCH + loop.time()) * 1e9),
        random=random.Random(seed),
        wait_for=no_wait,
        in_thread=inline,
        host_name=name,
    )
