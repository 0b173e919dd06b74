"""The native listener's requests: taken on the worker's event loop, and answered there."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import unquote

from verve._verve import Exchange, NativeListener
from verve.request.exchange import BodyBrokenError, Entry, declared_length, gather

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    from verve.request.body_budget import Held
    from verve.request.exchange import Response
    from verve.service.running import RunningService

    Answer = Callable[["NativeRequest"], Awaitable[Response]]
    Part = bytes | bool | None

MAX_FIELDS = 100
"""Header fields in a head."""
STOP_SECONDS = 10.0
"""Time that the requests in flight get at a stop."""


class NativeRequest:
    """A request as the native listener gives it."""

    def __init__(
        self, exchange: Exchange, entry: Entry, pull: Callable[[], Awaitable[Part]]
    ) -> None:
        """`pull` gives the next part of the body: bytes, None at its end, False if it is broken."""
        self._exchange = exchange
        self._pull = pull
        self.entry = entry
        self.method = exchange.method
        self.path = unquote(exchange.path)
        self.query: str | None = exchange.query

    @property
    def peer(self) -> str:
        """The client's address."""
        return self._exchange.peer

    def header(self, name: str) -> list[str]:
        """All values; one that is not visible ASCII is left out."""
        return self._exchange.header(name)

    def hosts(self) -> list[str]:
        """Host headers, and the authority of an absolute target."""
        authority = self._exchange.authority
        return [*self.header("host"), *([] if authority is None else [authority])]

    async def body(self, limit: int, held: Held) -> bytes:
        """The whole body."""
        body = await gather(self._chunks(), limit, held)
        declared = declared_length(self)
        if declared is not None and declared != len(body):
            raise BodyBrokenError
        return body

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        while (part := await self._pull()) is not None:
            if not isinstance(part, bytes):
                raise BodyBrokenError
            yield part


class NativeServer:
    """One listener, and the event loop on which its requests are answered."""

    def __init__(
        self,
        listener: NativeListener,
        entry: Entry,
        loop: asyncio.AbstractEventLoop,
        answer: Answer,
    ) -> None:
        self._listener = listener
        self._entry = entry
        self._loop = loop
        self._answer = answer
        self._pulls: dict[int, asyncio.Future[Part]] = {}
        # The loop itself holds a task only weakly.
        self._tasks: set[asyncio.Task[None]] = set()
        loop.add_reader(listener.descriptor, self._take)

    async def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Stop the listener. What it has taken is answered, for at most `seconds`."""
        stopped = self._loop.create_future()

        def stop() -> None:
            self._listener.stop(seconds)
            self._loop.call_soon_threadsafe(stopped.set_result, None)

        # A thread of its own: those of the loop may all be reading bodies.
        threading.Thread(target=stop, name="verve-listener-stop").start()
        await stopped
        self._loop.remove_reader(self._listener.descriptor)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def abandon(self) -> None:
        """Stop the listener; requests in flight get no answer."""
        self._loop.remove_reader(self._listener.descriptor)
        self._listener.stop(0)

    def _take(self) -> None:
        for event in self._listener.take():
            if isinstance(event, Exchange):
                task = self._loop.create_task(self._serve(event))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            else:
                number, part = event
                pull = self._pulls.pop(number, None)
                if pull is not None and not pull.done():
                    pull.set_result(part)

    async def _serve(self, exchange: Exchange) -> None:
        request = NativeRequest(exchange, self._entry, partial(self._pull, exchange))
        response = await self._answer(request)
        exchange.respond(response.status, response.headers, response.body)

    def _pull(self, exchange: Exchange) -> asyncio.Future[Part]:
        pull: asyncio.Future[Part] = self._loop.create_future()
        self._pulls[exchange.number] = pull
        exchange.pull()
        return pull


def start(
    service: RunningService,
    sockets: Mapping[Entry, socket.socket],
    loop: asyncio.AbstractEventLoop,
    answer: Answer,
) -> list[NativeServer]:
    """Serve each socket. Raises `OSError`, and `RuntimeError` where the host denies a thread."""
    settings = service.settings
    servers = []
    for entry, one in sockets.items():
        # The admin address has too few accepts for a lane of their own; and an accept that waits
        # for the store is answered by the event loop.
        accepts = entry is Entry.PUBLIC and service.confirmer is None
        listener = NativeListener(
            one.detach(),
            service.counter,
            service.callback_sender,
            accepts=accepts,
            connections=settings.max_connections,
            head=settings.max_head,
            fields=MAX_FIELDS,
            head_timeout=settings.head_timeout,
            idle_timeout=settings.keep_alive,
            stall_timeout=settings.write_timeout,
        )
        service.termination.at_retirement(listener.retire)
        if accepts:
            service.counter.worker_figures.set("fast_path", 1)
        servers.append(NativeServer(listener, entry, loop, answer))
    return servers
