"""From a worker to Redis: the ids that are new on this host, in batches, by a thread of its own.

Nobody who asks waits for it, unless `VERVE_ACK=store` says so. A batch is under way while the next
one gathers, so batches grow with the load. What could not be sent is tried again, the same ids, and
counted as acknowledged once; what does not find room meanwhile is left to closing.

It looks 40 times a second, for less than a hundredth of a core while nothing waits: ids are queued
in Rust, on threads that are not to wake anybody. A batch takes as much time as two thousand of its
ids, so it gathers for a while; a full one is followed by the next sooner.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from verve._verve import ClosedError
from verve.backoff import Backoff
from verve.cluster.runtime.event_loop import run_on_loop
from verve.cluster.runtime.tasks import cancel_all
from verve.log import events
from verve.stores.base import StoreError

from .pending_acks import Group, PendingAcks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from verve._verve import Counter
    from verve.cluster.coordinator.parts import Connect
    from verve.config import Settings
    from verve.log.background import Notices
    from verve.stores.base import Store

QUEUE_LIMIT = 1_000_000
"""Ids that wait in the memory of a worker; 16 bytes each."""
AT_ONCE = 4_000
"""Ids of a batch: more would keep the interpreter from others for milliseconds."""
LINGER = 0.025
SOON = 0.01
"""Seconds between two looks for ids, and after one that found as many as go at once."""
STOP_SECONDS = 1.0
"""That the last ids may take when the service stops, and the connections to be closed after."""
_TOTALS = ("sent", "left_out", "failed_batches")


@dataclass(frozen=True, slots=True)
class IdSenderStatus:
    """How the sending does, in this process."""

    sent: int
    batches: int
    failures: int
    waiting: int
    left_out: int
    error: str | None


class IdSender:
    """Sends from `start` to `stop`."""

    def __init__(
        self, counter: Counter, settings: Settings, connect: Connect, notices: Notices
    ) -> None:
        self._counter = counter
        self._settings = settings
        self._connect = connect
        self._notices = notices
        self._thread: threading.Thread | None = None
        # From other threads: what was asked for since the last look, and how to wake the loop.
        self._asked: deque[tuple[list[Group], Future[None]]] = deque()
        self._running: _Running | None = None
        self._over = threading.Event()
        self._waits = PendingAcks()
        self._unsent: list[Group] = []
        self._backoff = Backoff(longest=1.0)
        self._sent = self._batches = self._failures = 0
        self._error: str | None = None
        self._told = (0, 0, 0)

    def start(self) -> None:
        """Have new ids kept, and start the thread."""
        self._counter.send_new(QUEUE_LIMIT)
        thread = threading.Thread(target=self._run, name="verve-store", daemon=True)
        thread.start()
        self._thread = thread

    def stop(self) -> None:
        """Send what there is once more, and end the thread, in `2 * STOP_SECONDS` at the most."""
        self._over.set()
        if (running := self._running) is not None:
            running.call(running.stopping.set)
            running.call(running.woken.set)
        if self._thread is not None:
            self._thread.join(2 * STOP_SECONDS)
            self._thread = None

    def state(self) -> IdSenderStatus:
        """How it does."""
        unsent = sum(len(group.members) for group in list(self._unsent))
        return IdSenderStatus(
            sent=self._sent,
            batches=self._batches,
            failures=self._failures,
            waiting=self._counter.waiting_new() + unsent,
            left_out=self._counter.left_out_new(),
            error=self._error,
        )

    def confirm(self, groups: Iterable[tuple[int, int, Sequence[bytes]]]) -> Future[None]:
        """Have these ids sent, duplicates or not; done when Redis has them.

        Whoever waits sets the deadline, and cancels it when that is over. Any thread may ask.
        """
        told: Future[None] = Future()
        self._asked.append(([Group(*group) for group in groups], told))
        self._wake()
        return told

    def _wake(self) -> None:
        # What is awake already will see what was asked for.
        if (running := self._running) is not None and not running.woken.is_set():
            running.call(running.woken.set)

    def _run(self) -> None:
        """The thread: whatever happens, it goes on until it is told to stop."""
        restarts = Backoff(longest=5.0)
        while True:
            try:
                run_on_loop(self._main())
            except ClosedError:
                return
            except Exception as error:  # noqa: BLE001 - as above; what waits is sent by the next try
                self._failures += 1
                self._error = repr(error)
                if restarts.failed():
                    self._notices.put(events.SHIPPER_STUMBLED, error=repr(error))
                self._over.wait(restarts.remaining)
            if self._over.is_set():
                return

    async def _main(self) -> None:
        """Send until the service stops, and for a moment after."""
        running = _Running(asyncio.get_running_loop(), asyncio.Event(), asyncio.Event())
        self._running = running
        if self._over.is_set():  # it was too early to be told
            running.stopping.set()
        _, store = self._connect(self._settings)
        sending = asyncio.create_task(self._send(store, running))
        waiting = asyncio.create_task(_until(running.stopping))
        try:
            await asyncio.wait({sending, waiting}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({sending}, timeout=STOP_SECONDS)
        finally:
            self._running = None
            await cancel_all([sending, waiting])
            await store.close()
        if sending.done() and not sending.cancelled():
            sending.result()

    async def _send(self, store: Store, running: _Running) -> None:
        while True:
            is_last = self._over.is_set()
            found = await self._turn(store)
            self._tell()
            if is_last and (not found or self._backoff.attempts):
                return
            if not is_last:
                await self._rest(running, LINGER if found < AT_ONCE else SOON)

    def _tell(self) -> None:
        """Say in the segment how it does: any worker is asked for all of them."""
        state = self.state()
        told = (state.sent, state.left_out, state.failures)
        for name, now, before in zip(_TOTALS, told, self._told, strict=True):
            if now != before:
                self._counter.add_to_worker_figure(name, now - before)
        self._told = told
        self._counter.set_worker_figure("waiting", state.waiting)

    async def _rest(self, running: _Running, pause: float) -> None:
        """Let ids gather; who waits for an answer is not kept waiting, unless Redis is away."""
        left = self._backoff.remaining
        if left or not self._waits:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left or pause):
                    await (running.stopping if left else running.woken).wait()
        # Before what was asked for is looked at, or a call between the two would be missed.
        running.woken.clear()

    async def _turn(self, store: Store) -> int:
        """Send what there is; how many ids."""
        while self._asked:
            self._waits.put(*self._asked.popleft())
        if not self._unsent:
            self._unsent = [Group(*group) for group in self._counter.take_new(AT_ONCE)]
        asked = self._waits.pieces(AT_ONCE)
        found = sum(len(group.members) for group in (*self._unsent, *asked))
        if not found:
            return 0
        try:
            for window_start, groups in _by_window([*self._unsent, *asked]).items():
                await store.add(window_start, groups)
        except StoreError as error:
            self._failures += 1
            self._error = str(error)
            self._backoff.failed()
            return found
        self._backoff.succeeded()
        self._error = None
        self._batches += 1
        # Taken away before they are counted, so that they are not counted twice if that fails.
        sent, self._unsent = self._unsent, []
        self._waits.sent()
        for group in sent:
            self._sent += len(group.members)
            self._counter.acknowledge(group.window_start, len(group.members))
        return found


class _Running(NamedTuple):
    """How to reach the thread's loop from another thread."""

    loop: asyncio.AbstractEventLoop
    woken: asyncio.Event
    stopping: asyncio.Event

    def call(self, callback: Callable[[], object]) -> None:
        """Have it run there, unless the loop was just closed."""
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(callback)


async def _until(event: asyncio.Event) -> None:
    await event.wait()


def _by_window(groups: Iterable[Group]) -> Mapping[int, dict[int, list[bytes]]]:
    found: dict[int, dict[int, list[bytes]]] = {}
    for window_start, shard, members in groups:
        found.setdefault(window_start, {}).setdefault(shard, []).extend(members)
    return found
