"""How a worker learns that it must end: once, however often a signal says so.

Granian's worker takes two signals and blocks for ever at the third, with the requests in flight:
its channel holds one, and nothing reads a second. A worker gets more than one: from its supervisor,
which cannot know what a worker that starts has missed; from a terminal, which signals the whole
process group; and from systemd, which signals the whole control group.
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
"""Tells a worker that a successor takes its place. A process without a handler ignores it."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Termination:
    """Whether this process drains or retires, and what is done when it begins to.

    The first signal to end calls `drain`, before the server has ended the requests in flight; the
    signal to retire calls `retire`. Servers take a signal from the event loop's wake-up descriptor,
    which works beside a handler, or with a handler of their own, which is called from this one.
    """

    def __init__(self) -> None:
        self.draining = False
        """Whether the worker ends: it serves what is in flight, and is not ready for more."""
        self.retiring = False
        """Whether each answer ends its connection, so that the next request goes elsewhere."""
        self._at_drain: Callable[[], None] | None = None
        self._at_retirement: list[Callable[[], None]] = []
        self._before: dict[int, Callable[[int, FrameType | None], Any]] = {}
        # uvicorn takes a second SIGINT as the wish to end without its requests.
        self._takes_one_signal = False

    def listen(self) -> None:
        """Handle the signals from now on. Only the main thread can."""
        if threading.current_thread() is not threading.main_thread():
            return
        self._takes_one_signal = "granian" in sys.modules
        for number in _SIGNALS:
            before = signal.getsignal(number)
            # A default action ends the process, which a handler would keep from it.
            if callable(before) and before != self._handle:
                self._before[number] = before
                self._listen(number)
        if signal.getsignal(RETIRE) is signal.SIG_DFL:
            signal.signal(RETIRE, lambda *_: self.retire())

    def drain(self) -> None:
        """Begin to end."""
        self.draining = True
        self.retire()
        if self._at_drain is not None:
            self._at_drain()

    def retire(self) -> None:
        """End each connection with its answer from now on."""
        self.retiring = True
        for action in self._at_retirement:
            action()

    def at_drain(self, action: Callable[[], None]) -> None:
        """Call `action` once draining begins, in a signal handler."""
        self._at_drain = action

    def at_retirement(self, action: Callable[[], None]) -> None:
        """Call `action` once retirement begins, in a signal handler; at once if it has begun."""
        self._at_retirement.append(action)
        if self.retiring:
            action()

    def repeat(self) -> None:
        """Repeat a signal that came before the event loop ran: uvloop would forget it."""
        if not self.draining:
            return
        if signal.SIGTERM in self._before:
            self._listen(signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)

    def _listen(self, number: int) -> None:
        signal.signal(number, self._handle)
        signal.siginterrupt(number, False)  # noqa: FBT003 - its only form

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.drain()
        if self._takes_one_signal:
            for other in self._before:
                signal.signal(other, signal.SIG_IGN)
        self._before[number](number, frame)
