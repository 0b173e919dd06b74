"""Sends the ids that are new on this host from a worker to Redis, in a thread of its own.

No request waits for it, unless `VERVE_ACK=store` says so. While one batch is under way the next one
gathers, so batches grow with the load. A failed batch is sent again, with the same ids, and counted
as acknowledged once. Ids that find no room in the queue are left to the completion of the window.

The sender looks for ids 40 times per second, which costs less than a hundredth of a core while
there are none: ids are queued in Rust, on threads that must not wake others. A batch costs as much
time as two thousand of its ids, so it gathers for a while; after a full batch the next one follows
sooner.
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
from verve.cluster.runtime.event_loop import run_on_loop
from verve.cluster.runtime.machine import Machine
from verve.cluster.runtime.tasks import cancel_all
from verve.log import events
from verve.stores.base import StoreError

from .pending_acks import PendingAcks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from verve._verve import Counter, Group
    from verve.cluster.interfaces import Connect
    from verve.config import Settings
    from verve.log.background import Notices
    from verve.stores.base import Store

QUEUE_LIMIT = 1_000_000
"""Ids that may wait in the memory of a worker; 16 bytes each."""
BATCH_IDS = 4_000
"""Ids per batch: more would keep the interpreter from other threads for milliseconds."""
LINGER = 0.025
"""Seconds between two looks for ids."""
SOON = 0.01
"""Seconds until the look after a full batch."""
STOP_SECONDS = 1.0
"""Seconds for the last ids when the service stops, and as many to close the connections."""
_TOTALS = ("sent", "left_out", "failed_batches")


@dataclass(frozen=True, slots=True)
class IdSenderStatus:
    """The figures of the sender of this process."""

    sent: int
    batches: int
    failures: int
    waiting: int
    left_out: int
    error: str | None


class IdSender:
    """Sends ids from `start` to `stop`."""

    def __init__(
        self,
        counter: Counter,
        settings: Settings,
        connect: Connect,
        notices: Notices,
        machine: Machine | None = None,
    ) -> None:
        """`machine` is the real one by default."""
        self._counter = counter
        self._settings = settings
        self._connect = connect
        self._notices = notices
        self._machine = machine or Machine()
        self._thread: threading.Thread | None = None
        # From other threads: the requests since the last look, and how to wake the loop.
        self._requests: deque[tuple[Sequence[Group], Future[None]]] = deque()
        self._running: _Running | None = None
        self._over = threading.Event()
        self._pending = PendingAcks()
        self._unsent: list[Group] = []
        self._backoff = self._machine.backoff(1.0)
        self._sent = self._batches = self._failures = 0
        self._error: str | None = None
        self._reported = (0, 0, 0)

    def start(self) -> None:
        """Have new ids queued, and start the thread."""
        self.queue()
        thread = threading.Thread(target=self._run, name="verve-store", daemon=True)
        thread.start()
        self._thread = thread

    def queue(self) -> None:
        """Have new ids queued for `serve`."""
        self._counter.replication.queue(QUEUE_LIMIT)

    def stop(self) -> None:
        """Send the last ids, and end the thread, within `2 * STOP_SECONDS`."""
        self._over.set()
        if (running := self._running) is not None:
            running.call(running.stopping.set)
            running.call(running.woken.set)
        if self._thread is not None:
            self._thread.join(2 * STOP_SECONDS)
            self._thread = None

    def state(self) -> IdSenderStatus:
        """The figures so far."""
        unsent = sum(len(group.members) for group in list(self._unsent))
        return IdSenderStatus(
            sent=self._sent,
            batches=self._batches,
            failures=self._failures,
            waiting=self._counter.replication.queued() + unsent,
            left_out=self._counter.replication.left_out(),
            error=self._error,
        )

    def confirm(self, groups: Sequence[Group]) -> Future[None]:
        """Send these ids, also duplicates; the future is done when Redis has them.

        The caller sets the deadline, and cancels the future after it. Any thread may call.
        """
        acknowledged: Future[None] = Future()
        self._requests.append((groups, acknowledged))
        # A loop that is awake already will see the request.
        if (running := self._running) is not None and not running.woken.is_set():
            running.call(running.woken.set)
        return acknowledged

    def waits(self) -> int:
        """The number of requests that wait for the store. Any thread may call."""
        return len(self._requests) + self._pending.waiting()

    def _run(self) -> None:
        """The thread: it survives every error, until it is stopped."""
        restarts = self._machine.backoff(5.0)
        while True:
            try:
                run_on_loop(self.serve())
            except ClosedError:
                return
            except Exception as error:  # noqa: BLE001 - as above; the next try sends what waits
                self._failures += 1
                self._error = repr(error)
                if restarts.failed():
                    self._notices.put(events.SHIPPER_STUMBLED, error=repr(error))
                self._over.wait(restarts.remaining)
            if self._over.is_set():
                return

    async def serve(self) -> None:
        """Send until the service stops, and for a moment after: the body of a loop."""
        running = _Running(asyncio.get_running_loop(), asyncio.Event(), asyncio.Event())
        self._running = running
        if self._over.is_set():  # `stop` came before there was a loop
            running.stopping.set()
        _, store = self._connect(self._settings)
        sending = asyncio.create_task(self._send(store, running))
        stopping = asyncio.create_task(_until(running.stopping))
        try:
            await asyncio.wait({sending, stopping}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({sending}, timeout=STOP_SECONDS)
        finally:
            self._running = None
            await cancel_all([sending, stopping])
            await store.close()
        if sending.done() and not sending.cancelled():
            sending.result()

    async def _send(self, store: Store, running: _Running) -> None:
        while True:
            is_last = self._over.is_set()
            found = await self.step(store)
            self._report()
            if is_last and (not found or self._backoff.attempts):
                return
            if not is_last:
                await self._rest(running, LINGER if found < BATCH_IDS else SOON)

    def _report(self) -> None:
        """Write the figures into the segment: any worker reports those of all."""
        status = self.state()
        totals = (status.sent, status.left_out, status.failures)
        for name, now, before in zip(_TOTALS, totals, self._reported, strict=True):
            if now != before:
                self._counter.worker_figures.add(name, now - before)
        self._reported = totals
        self._counter.worker_figures.set("waiting", status.waiting)

    async def _rest(self, running: _Running, pause: float) -> None:
        """Let ids gather; requests are not kept waiting, unless Redis is away."""
        left = self._backoff.remaining
        if left or not self._pending:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left or pause):
                    await (running.stopping if left else running.woken).wait()
        # Before the requests are taken, or a request between the two would be missed.
        running.woken.clear()

    async def step(self, store: Store) -> int:
        """Send one batch; the number of its ids."""
        while self._requests:
            self._pending.put(*self._requests.popleft())
        if not self._unsent:
            self._unsent = self._counter.replication.take(BATCH_IDS)
        requested = self._pending.pieces(BATCH_IDS)
        found = sum(len(group.members) for group in (*self._unsent, *requested))
        if not found:
            return 0
        try:
            for window_start, groups in _by_window([*self._unsent, *requested]).items():
                await store.add(window_start, groups)
        except StoreError as error:
            self._failures += 1
            self._error = str(error)
            self._backoff.failed()
            return found
        self._backoff.succeeded()
        self._error = None
        self._batches += 1
        # They are taken away before they are counted, so that a failure cannot count them twice.
        sent, self._unsent = self._unsent, []
        self._pending.sent()
        for group in sent:
            self._sent += len(group.members)
            self._counter.replication.acknowledge(group.window_start, len(group.members))
        return found


class _Running(NamedTuple):
    """The loop of the thread, and its events, for other threads."""

    loop: asyncio.AbstractEventLoop
    woken: asyncio.Event
    stopping: asyncio.Event

    def call(self, callback: Callable[[], object]) -> None:
        """Run a callback on the loop, unless the loop was just closed."""
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(callback)


async def _until(event: asyncio.Event) -> None:
    await event.wait()


def _by_window(groups: Iterable[Group]) -> Mapping[int, dict[int, list[bytes]]]:
    found: dict[int, dict[int, list[bytes]]] = {}
    for window_start, shard, members in groups:
        found.setdefault(window_start, {}).setdefault(shard, []).extend(members)
    return found
