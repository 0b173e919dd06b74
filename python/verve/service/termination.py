"""How a worker learns that it must end: once, however often a signal says so.

Granian's worker takes two signals and blocks for ever at the third, with the requests in flight:
its channel holds one, and nothing reads a second. A worker gets more than one: from its supervisor,
which cannot know what a worker that starts has missed; from a terminal, which signals the whole
process group; and from systemd, which signals the whole control group. On a busy machine several
come before the first handler of Python runs, so no handler can keep the event loop from the others.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable
    from types import FrameType

RETIRE = signal.SIGURG
"""Tells a worker that a successor takes its place. A process without a handler ignores it."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def end_granian_once() -> None:
    """Have the first signal end a worker of Granian, and the others do nothing.

    To be called before Granian sets the signals of the worker, by a function that it looks up then.
    """
    signals = sys.modules.get("granian._signals")
    stock = getattr(signals, "set_loop_signals", None)
    if signals is None or stock is None:
        return

    def set_loop_signals(loop: AbstractEventLoop) -> Any:  # noqa: ANN401 - Granian's own
        event = stock(loop)
        is_set = False

        def set_once() -> None:
            nonlocal is_set
            if not is_set:
                is_set = True
                event.set()

        # Some loops take no signals: Granian handles them by itself.
        with contextlib.suppress(NotImplementedError):
            for number in _SIGNALS:
                loop.add_signal_handler(number, set_once)
        return event

    vars(signals)["set_loop_signals"] = set_loop_signals


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

    def listen(self) -> None:
        """Handle the signals from now on. Only the main thread can."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in _SIGNALS:
            before = signal.getsignal(number)
            # A default action ends the process, which a handler would keep from it.
            if callable(before) and before != self._handle:
                self._before[number] = before
                signal.signal(number, self._handle)
                signal.siginterrupt(number, False)  # noqa: FBT003 - its only form
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
        if self.draining:
            os.kill(os.getpid(), signal.SIGTERM)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.drain()
        self._before[number](number, frame)
