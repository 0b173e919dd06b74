"""The work of a leader in steps, which a thread takes, or a simulation."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from verve._verve import ClosedError, VerveError
from verve.log import events

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

IDLE_SECONDS = 1.0
"""Seconds between the steps of a task that has nothing to do, or whose step failed."""


class Task:
    """Work that is done in steps, by a thread of its own after `start`, until `stop`."""

    def __init__(
        self,
        name: str,
        step: Callable[[], float | None],
        close: Callable[[], None] = lambda: None,
        *,
        then: Sequence[Task] = (),
        retry: float = IDLE_SECONDS,
    ) -> None:
        """`step` returns seconds until the next step; None: `IDLE_SECONDS`, or until `wake`.

        `then`: tasks that are woken after each step. `retry`: seconds until the next step after an
        error. `close` is called at the end.
        """
        self.name = name
        self._step = step
        self._close = close
        self._then = then
        self._retry = retry
        self._error: str | None = None
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        thread.start()
        self._thread = thread  # one that could not be started cannot be joined

    def step(self) -> float:
        """Take one step, and return seconds until the next. Raises only `ClosedError`."""
        try:
            pause = self._step()
            self._error = None
        except ClosedError:
            raise
        except Exception as error:  # noqa: BLE001 - a task must outlive any surprise
            if repr(error) != self._error:
                self._error = repr(error)
                message = error if isinstance(error, VerveError) else self._error
                events.LEADER_STUMBLED.emit(error=message)
            pause = self._retry
        for task in self._then:
            task.wake()
        return IDLE_SECONDS if pause is None else pause

    def wake(self) -> None:
        """Take the next step now."""
        self._wake.set()

    def stop(self) -> None:
        """Take no further step. It does not wait for one that is under way."""
        self._stopped.set()
        self._wake.set()
        if self._thread is None:
            self._close()

    def join(self, timeout: float) -> None:
        """Wait for the end of the thread, at most `timeout` seconds."""
        if self._thread is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._wake.clear()
            try:
                pause = self.step()
            except ClosedError:
                break
            if not self._stopped.is_set():
                self._wake.wait(pause)
        self._close()
