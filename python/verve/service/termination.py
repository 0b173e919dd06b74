"""How a worker hears that it must end: once, however often it is told.

Granian's worker takes two signals and blocks for ever at the third, with the requests in flight:
its channel holds one, and nobody reads a second. A worker is told more than once by its supervisor,
which cannot know what a worker that starts has missed; by a terminal, which signals the whole
process group; and by systemd, which signals the whole control group.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

RETIRE = signal.SIGURG
"""Tells a worker that a successor takes its place. One that does not listen for it ignores it."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Termination:
    """The first signal to end calls `drain`, before the server has ended the requests in flight.

    The one to retire calls `retire`.

    Servers take the signal from the event loop's wake-up descriptor, which goes on beside a
    handler, or with a handler of their own, which is called from here.
    """

    def __init__(self, drain: Callable[[], None], retire: Callable[[], None]) -> None:
        self._drain = drain
        self._before: dict[int, Callable[[int, FrameType | None], Any]] = {}
        # uvicorn takes a second SIGINT as the wish to end without its requests.
        self._once = "granian" in sys.modules
        # Only the main thread hears signals.
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                before = signal.getsignal(number)
                # A default action ends the process, which a handler would keep from it.
                if callable(before):
                    self._before[number] = before
                    self._listen(number)
            if signal.getsignal(RETIRE) is signal.SIG_DFL:
                signal.signal(RETIRE, lambda *_: retire())

    def repeat(self) -> None:
        """Tell a loop that has begun to run of a signal before: uvloop would forget it."""
        if signal.SIGTERM in self._before:
            self._listen(signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)

    def _listen(self, number: int) -> None:
        signal.signal(number, self._hear)
        signal.siginterrupt(number, False)  # noqa: FBT003 - its only form

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self._drain()
        if self._once:
            for other in self._before:
                signal.signal(other, signal.SIG_IGN)
        self._before[number](number, frame)
