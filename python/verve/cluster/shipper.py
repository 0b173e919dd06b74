"""From a worker to Redis: the ids that are new on this host, in batches, by a thread of its own.

Nobody who asks waits for it, unless `VERVE_ACK=store` says so. A batch is under way while the next
one gathers, so batches grow with the load. What could not be sent is tried again, the same ids, and
counted as acknowledged once; what does not find room meanwhile is left to closing.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from verve import events
from verve._verve import ClosedError
from verve.backoff import Backoff
from verve.stores.base import StoreError

from .loop import run_on_loop

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from verve._verve import Counter
    from verve.config import Settings
    from verve.notices import Notices
    from verve.stores.base import Store

    from .parts import Connect

WAITING_AT_MOST = 1_000_000
"""Ids that wait in the memory of a worker; 16 bytes each."""
AT_ONCE = 4_000
"""Ids of a batch: more would keep the interpreter from others for milliseconds."""
LINGER = 0.01
IDLE = 0.02
"""Seconds between two looks for ids: while there are some, and while there are none."""
STOP_SECONDS = 1.0


class Group(NamedTuple):
    """Ids of one shard of a window, 8 bytes each."""

    window_start: int
    shard: int
    members: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class ShipperState:
    """How the sending does, in this process."""

    sent: int
    batches: int
    failures: int
    waiting: int
    left_out: int
    error: str | None


class _Wait(NamedTuple):
    """Someone who waits until these are in Redis."""

    groups: Sequence[Group]
    told: Future[None]


class Shipper:
    """Sends from `start` to `stop`."""

    def __init__(
        self, counter: Counter, settings: Settings, connect: Connect, notices: Notices
    ) -> None:
        self._counter = counter
        self._settings = settings
        self._connect = connect
        self._notices = notices
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken: asyncio.Event | None = None
        self._stopped = False
        self._waits: deque[_Wait] = deque()
        self._asked: list[_Wait] = []
        self._unsent: list[Group] = []
        self._backoff = Backoff(longest=1.0)
        self._sent = self._batches = self._failures = 0
        self._error: str | None = None

    def start(self) -> None:
        """Have new ids kept, and start the thread."""
        self._counter.send_new(WAITING_AT_MOST)
        self._thread = threading.Thread(target=self._run, name="verve-store", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Send what there is, for a second at the most, and end the thread."""
        self._stopped = True
        self._wake()
        if self._thread is not None:
            self._thread.join(2 * STOP_SECONDS)
            self._thread = None

    def state(self) -> ShipperState:
        """How it does."""
        unsent = sum(len(group.members) for group in self._unsent)
        return ShipperState(
            sent=self._sent,
            batches=self._batches,
            failures=self._failures,
            waiting=self._counter.waiting_new() + unsent,
            left_out=self._counter.left_out_new(),
            error=self._error,
        )

    def confirm(self, groups: Iterable[tuple[int, int, Sequence[bytes]]]) -> Future[None]:
        """Have these ids sent, duplicates or not; done when Redis has them."""
        told: Future[None] = Future()
        self._waits.append(_Wait([Group(*group) for group in groups], told))
        self._wake()
        return told

    def _wake(self) -> None:
        loop, woken = self._loop, self._woken
        if loop is not None and woken is not None:
            with contextlib.suppress(RuntimeError):  # it ended by itself
                loop.call_soon_threadsafe(woken.set)

    def _run(self) -> None:
        try:
            run_on_loop(self._main())
        except ClosedError:
            return
        except Exception as error:  # noqa: BLE001 - ids are left to closing, and somebody hears of it
            self._notices.put(events.LEADER_STUMBLED, error=repr(error))

    async def _main(self) -> None:
        self._woken = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        _, store = self._connect(self._settings)
        try:
            while not self._stopped:
                await self._rest(await self._turn(store))
            async with asyncio.timeout(STOP_SECONDS):
                while await self._turn(store) and not self._backoff.attempts:
                    pass
        except TimeoutError:
            return
        finally:
            await store.close()

    async def _rest(self, busy: bool) -> None:  # noqa: FBT001 - what `_turn` gave
        """Let ids gather; who waits for an answer is not kept waiting."""
        if self._waits and not self._backoff.remaining:
            return
        pause = self._backoff.remaining or (LINGER if busy else IDLE)
        while self._woken is not None and pause and not self._stopped:
            try:
                async with asyncio.timeout(pause):
                    await self._woken.wait()
            except TimeoutError:
                return
            self._woken.clear()
            # Who asks does not make the next attempt come sooner.
            pause = self._backoff.remaining

    async def _turn(self, store: Store) -> bool:
        """Send what there is; whether there was something."""
        if not self._unsent:
            self._unsent = [Group(*group) for group in self._counter.take_new(AT_ONCE)]
        while self._waits:
            self._asked.append(self._waits.popleft())
        self._asked = [wait for wait in self._asked if not wait.told.done()]
        asked = [group for wait in self._asked for group in wait.groups]
        if not self._unsent and not asked:
            return False
        try:
            for window_start, groups in _by_window([*self._unsent, *asked]).items():
                await store.add(window_start, groups)
        except StoreError as error:
            self._failures += 1
            self._error = str(error)
            self._backoff.failed()
            return True
        self._backoff.succeeded()
        self._error = None
        self._batches += 1
        # Taken away before they are counted, so that they are not counted twice if that fails.
        sent, self._unsent = self._unsent, []
        for group in sent:
            self._sent += len(group.members)
            self._counter.acknowledge(group.window_start, len(group.members))
        waits, self._asked = self._asked, []
        for wait in waits:
            if wait.told.set_running_or_notify_cancel():
                wait.told.set_result(None)
        return True


def _by_window(groups: Iterable[Group]) -> Mapping[int, dict[int, list[bytes]]]:
    found: dict[int, dict[int, list[bytes]]] = {}
    for window_start, shard, members in groups:
        found.setdefault(window_start, {}).setdefault(shard, []).extend(members)
    return found
