"""The events of a worker's streams: each is encoded once, for all readers.

One task per event loop makes the running figures each second and looks for changes of the ledger,
for as long as there are readers. Changes stay in a bounded buffer: a reader says which one it has
last, and gets those after it, or else all windows anew (a reset). Nothing here waits for a disk:
looks run on threads of their own, and readers get figures meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from verve.log.event_log import logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

NO_LEDGER = "none"
"""Id of the ledger while there is none."""
KEPT = 240
"""Changes in the buffer; a reader that lacks more gets a reset."""

_MOST_DIGITS = 18

_RETRY = b"retry: 1000\n\n"
_AFTER_SECOND = 0.1
# A comment, which keeps the connection alive and shows whether the reader is there.
_NOTHING = b":\n\n"


class Position(NamedTuple):
    """The last change that a reader has: the ledger's id and the number of the change."""

    ledger: str
    number: int

    @classmethod
    def parse(cls, text: str) -> Position | None:
        """Return the position that an event's id gives; None for any other text."""
        ledger, _, number = text.partition(":")
        is_number = number.isascii() and number.isdigit() and len(number) <= _MOST_DIGITS
        return cls(ledger, int(number)) if is_number and ledger != NO_LEDGER else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a look at the ledger found; see `ledger.changes` for `floor`."""

    position: Position
    floor: int
    events: list[tuple[int, bytes]]
    """The encoded events, each with its number, oldest first."""
    reset: bytes | None
    """The encoded event `reset` at this position, if it was asked for."""
    is_sound: bool = True
    """Whether the ledger could be read; otherwise `reset` has what is known without it."""


class Source(Protocol):
    """Where a hub gets its events from."""

    async def figures(self) -> bytes | None:
        """Return the encoded event of the running figures; None if they cannot be read."""
        ...

    def look(self, known: Position, *, reset: bool) -> Future[Look]:
        """Look at the ledger on another thread, for what came after `known`."""
        ...


class Reader:
    """One stream. `next` gives what to send, until it gives None; `close` ends it."""

    def __init__(
        self, hub: Hub, last: str | None, seconds: float, leave: Callable[[], None]
    ) -> None:
        """`last` is the id of the last event that the caller has; see `Hub.read` for the rest."""
        loop = asyncio.get_running_loop()
        self.over: asyncio.Future[None] = loop.create_future()
        """Done once the stream is to end at once."""
        self.position = None if last is None else Position.parse(last)
        self.fresh_after = 0
        """The number of the look that can judge the position that the caller gave."""
        self.has_incomplete = False
        """Whether its last reset was made without the ledger."""
        self.figures_seen = 0
        self._hub = hub
        self._loop = loop
        self._end = loop.time() + seconds
        self._leave = leave
        self._woken = asyncio.Event()
        self._begun = False
        self._closed = False

    async def next(self) -> bytes | None:
        """Wait for events, and return them encoded; None at the end of the stream."""
        if not self._begun:
            self._begun = True
            return _RETRY
        while not self.over.done() and self._loop.time() < self._end:
            # First, so that what comes from here on wakes it.
            self._woken.clear()
            if pending := self._hub.pending(self):
                return pending
            await self._woken.wait()
        return None

    def wake(self) -> None:
        """Have `next` look again."""
        self._woken.set()

    def end(self) -> None:
        """End the stream at once."""
        if not self.over.done():
            self.over.set_result(None)
        self._woken.set()

    def close(self) -> None:
        """Leave the hub; a second call does nothing."""
        if not self._closed:
            self._closed = True
            self._hub.remove(self)
            self._leave()


class Hub:
    """The events of one event loop, and their readers. Only that loop may use it."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._readers: set[Reader] = set()
        self._task: asyncio.Task[None] | None = None
        # The changes: complete from the one after `floor` to `known`.
        self._known = Position(NO_LEDGER, 0)
        self._floor = 0
        self._events: deque[tuple[int, bytes]] = deque()
        self._is_sound = True
        # The reset of this second, for all who need one.
        self._reset: tuple[Position, bytes] | None = None
        self._wants_reset = False
        self._figures = b""
        self._figures_number = 0
        # Looks have numbers, in the order in which they began. At most one runs.
        self._looking: asyncio.Future[Look] | None = None
        self._look_again = False
        self._begun = 0
        self._done = 0

    def read(self, last: str | None, seconds: float, leave: Callable[[], None]) -> Reader:
        """Return a new reader, which ends after `seconds`; `leave` is called when it closes."""
        reader = Reader(self, last, seconds, leave)
        self._readers.add(reader)
        if reader.position is not None:
            # Another worker may know of later changes than this one does.
            reader.fresh_after = self._begun + 1
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
            self._task.add_done_callback(self._stopped)
        return reader

    def remove(self, reader: Reader) -> None:
        """Remove a reader; the last one stops the task."""
        self._readers.discard(reader)
        if not self._readers and self._task is not None:
            self._task.cancel()
            self._task = None
            if self._looking is not None:
                self._looking.cancel()
            # They would be old when the next reader comes.
            self._figures, self._reset = b"", None

    def end(self) -> None:
        """End all streams at once."""
        for reader in list(self._readers):
            reader.end()

    def pending(self, reader: Reader) -> bytes:
        """Return what this reader lacks, and note that it has it."""
        found = self._changes(reader)
        if reader.figures_seen < self._figures_number and self._figures:
            reader.figures_seen = self._figures_number
            found.append(self._figures)
        return found[0] if len(found) == 1 else b"".join(found)

    def _changes(self, reader: Reader) -> list[bytes]:
        at, known = reader.position, self._known
        if at and self._is_held(at):
            reader.position = known
            return [event for number, event in self._events if number > at.number]
        if self._done < reader.fresh_after:
            self._look()
            return []
        if not self._is_sound and reader.has_incomplete:
            return []
        if self._reset is None or (self._is_sound and not self._is_held(self._reset[0])):
            self._wants_reset = True
            self._look()
            return []
        position, reset = self._reset
        reader.position = position if self._is_sound else None
        reader.has_incomplete = not self._is_sound
        later = [event for number, event in self._events if number > position.number]
        return [reset, *later] if self._is_sound else [reset]

    def _is_held(self, at: Position) -> bool:
        """Whether all changes after `at` are at hand."""
        known = self._known
        return at.ledger == known.ledger and self._floor <= at.number <= known.number

    async def _run(self) -> None:
        while True:
            self._reset = None
            self._look()
            self._figures = await self._source.figures() or _NOTHING
            self._figures_number += 1
            self._wake_all()
            # Windows end at whole seconds, and the ledger has them soon after.
            await asyncio.sleep(1 + _AFTER_SECOND - time.time() % 1)

    def _stopped(self, task: asyncio.Task[None]) -> None:
        if task is not self._task:
            return  # the last reader has left
        self._task = None
        if not task.cancelled():
            logger.error("the event stream has failed", exc_info=task.exception())
        self.end()

    def _look(self) -> None:
        """Begin a look, or have one begin after the one that runs."""
        if self._looking is not None:
            self._look_again = True
            return
        self._begun += 1
        try:
            look = self._source.look(self._known, reset=self._wants_reset)
        except RuntimeError:  # the host denies a thread: the next tick tries again
            return
        self._wants_reset = False
        self._look_again = False
        self._looking = asyncio.wrap_future(look)
        self._looking.add_done_callback(self._looked)

    def _looked(self, look: asyncio.Future[Look]) -> None:
        self._looking = None
        self._done = self._begun
        try:
            self._apply(look.result())
        except asyncio.CancelledError:
            pass
        except Exception:  # noqa: BLE001 - the next second tries again
            logger.exception("the event stream could not look at the ledger")
            return
        if self._readers:
            if self._look_again:
                self._look()
            self._wake_outdated()

    def _apply(self, look: Look) -> None:
        self._is_sound = look.is_sound
        if look.is_sound:
            before, self._known = self._known, look.position
            is_continued = look.position.ledger == before.ledger and look.floor <= before.number
            if not is_continued or look.position.number < before.number:
                self._events.clear()
                # A ledger that was put back has a lower number than its readers.
                self._floor = min(look.floor, look.position.number)
            self._events.extend(look.events)
            while len(self._events) > KEPT:
                self._floor, _ = self._events.popleft()
        if look.reset is not None:
            self._reset = (look.position, look.reset)

    def _wake_all(self) -> None:
        for reader in self._readers:
            reader.wake()

    def _wake_outdated(self) -> None:
        """Wake the readers that lack a change. A look that found none wakes nobody."""
        for reader in self._readers:
            if reader.position != self._known:
                reader.wake()
