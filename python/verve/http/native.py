"""Requests of the native listener, answered on the worker's event loop."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import unquote

from verve._verve import Exchange, NativeListener
from verve.request.exchange import BodyBrokenError, Entry, Stream, declared_length, gather

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    from verve.request.body_budget import Held
    from verve.request.exchange import Response
    from verve.service.running import RunningService

    Answer = Callable[["NativeRequest"], Awaitable[Response]]
    Part = bytes | bool | None

MAX_FIELDS = 100
"""Maximum number of header fields in the head of a request."""
STOP_SECONDS = 10.0
"""Maximum time that requests in flight get when the listener stops."""

_FULL_SECONDS = 0.25
"""Time after which a part is offered again that the caller had no room for."""


class NativeRequest:
    """A request from the native listener."""

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
        """The client's address, without port."""
        return self._exchange.peer

    def header(self, name: str) -> list[str]:
        """All values of a header, without those that are not visible ASCII."""
        return self._exchange.header(name)

    def header_names(self) -> list[str]:
        """The names of all headers in lower case, whatever their values."""
        return self._exchange.header_names()

    def hosts(self) -> list[str]:
        """Host headers, and the authority of an absolute target."""
        authority = self._exchange.authority
        return [*self.header("host"), *([] if authority is None else [authority])]

    async def body(self, limit: int, held: Held) -> bytes:
        """The whole body; see `Request.body` for limits and errors."""
        return await gather(self._chunks(), declared_length(self), limit, held)

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        while (part := await self._pull()) is not None:
            if not isinstance(part, bytes):
                raise BodyBrokenError
            yield part


class NativeServer:
    """One listener, with the event loop that answers its requests."""

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
        # The loop keeps only a weak reference to a task.
        self._tasks: set[asyncio.Task[None]] = set()
        loop.add_reader(listener.descriptor, self._take)

    async def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Stop the listener; answer the requests that it has taken, for at most `seconds`."""
        stopped = self._loop.create_future()

        def stop() -> None:
            self._listener.stop(seconds)
            self._loop.call_soon_threadsafe(stopped.set_result, None)

        # A separate thread, because bodies may occupy all threads of the loop's pool.
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
                pull = self._pulls.pop(event.exchange, None)
                if pull is not None and not pull.done():
                    pull.set_result(event.data)

    async def _serve(self, exchange: Exchange) -> None:
        request = NativeRequest(exchange, self._entry, partial(self._pull, exchange))
        response = await self._answer(request)
        if isinstance(response, Stream):
            await _stream(exchange, response)
            return
        exchange.respond(response.status, response.headers, response.body)

    def _pull(self, exchange: Exchange) -> asyncio.Future[Part]:
        pull: asyncio.Future[Part] = self._loop.create_future()
        self._pulls[exchange.number] = pull
        exchange.pull()
        return pull


async def _stream(exchange: Exchange, response: Stream) -> None:
    """Send the parts of the body. The listener ends a connection whose caller takes nothing."""
    source = response.source
    try:
        body = exchange.stream(response.status, response.headers)
        while (part := await source.next()) is not None:
            while (taken := body.send(part)) is False and not source.over.done():
                await asyncio.wait({source.over}, timeout=_FULL_SECONDS)
            if not taken:
                return
    finally:
        source.close()


def start(
    service: RunningService,
    sockets: Mapping[Entry, socket.socket],
    loop: asyncio.AbstractEventLoop,
    answer: Answer,
) -> list[NativeServer]:
    """Serve each socket. Raises `OSError`, and `RuntimeError` if the host denies a thread."""
    settings = service.settings
    servers = []
    for entry, one in sockets.items():
        # The admin address gets too few accepts to need the fast path, and only the event loop
        # can answer an accept that waits for the store.
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
        service.listeners.add(listener)
        service.termination.at_retirement(listener.retire)
        if accepts:
            service.counter.worker_figures.set("fast_path", 1)
        servers.append(NativeServer(listener, entry, loop, answer))
    return servers
