"""ASGI 3, for Granian's ASGI mode and uvicorn: requests, and the lifespan protocol."""

from __future__ import annotations

import asyncio
import contextlib
from functools import cached_property
from typing import TYPE_CHECKING, Any

from verve.request.exchange import (
    BodyBrokenError,
    Entry,
    Stream,
    declared_length,
    ended,
    gather,
    in_time,
    sent,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping

    from verve.request.body_budget import Held
    from verve.request.exchange import Headers, Response

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]


_END_SECONDS = 1.0
"""Time for the end of a stream to be sent: a reader that is blocked keeps the server from it."""


class ASGIRequest:
    """A request from an ASGI server."""

    entry = Entry.PUBLIC

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._scope = scope
        self._receive = receive
        self.method: str = scope["method"]
        self.path = _path(scope["path"], scope.get("root_path") or "")
        self.query = _query(scope.get("query_string") or b"")

    @property
    def peer(self) -> str:
        """The client's address, without port; empty for a Unix socket."""
        return (self._scope.get("client") or ("",))[0] or ""

    @property
    def has_two_framings(self) -> bool:
        """Whether it has both Content-Length and Transfer-Encoding; decodes no header."""
        names = {name.lower() for name, _ in self._scope["headers"]}
        return b"transfer-encoding" in names and b"content-length" in names

    @cached_property
    def _headers(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name, value in self._scope["headers"]:
            found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        return found

    def header(self, name: str) -> list[str]:
        """All values of a header, by its name in lower case."""
        return self._headers.get(name, [])

    def header_names(self) -> list[str]:
        """The names of all headers in lower case, whatever their values."""
        return list(self._headers)

    def hosts(self) -> list[str]:
        """Host headers; the server turns the authority of HTTP/2 into one."""
        return self.header("host")

    async def body(self, limit: int, held: Held) -> bytes:
        """The whole body; see `Request.body` for limits and errors."""
        return await gather(self._chunks(), declared_length(self), limit, held)

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        more = True
        while more:
            message = await self._receive()
            if message["type"] != "http.request":
                raise BodyBrokenError
            yield message.get("body", b"")
            more = message.get("more_body", False)


def _path(path: str, root: str) -> str:
    """Return the path below the root path.

    Some servers put the root path before the client's path, others pass the path unchanged, and
    uvicorn with h11 keeps scheme and host before the path of an absolute target.
    """
    below = path.removeprefix(root)
    if below.startswith(("http://", "https://")):
        return "/" + below.split("://", 1)[1].partition("/")[2]
    return below if below.startswith("/") else path


def _query(query: bytes) -> str | None:
    """Return the query, or None if it is not UTF-8, which Granian rejects by itself."""
    try:
        return query.decode()
    except UnicodeDecodeError:
        return None


async def serve(
    scope: Scope,
    receive: Receive,
    send: Send,
    answer: Callable[[ASGIRequest], Awaitable[Response]],
) -> None:
    """Answer one request; reject a WebSocket."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close"})
        return
    request = ASGIRequest(scope, receive)
    response = await answer(request)
    if request.has_two_framings:
        # Who reads it by its length takes what follows for a part of it. RFC 9112 6.1 demands that
        # the connection ends with the answer, and uvicorn with h11 keeps it.
        response = ended(response)
    headers = _encoded(response.headers)
    if isinstance(response, Stream):
        await _stream(receive, send, response, headers)
        return
    headers.append((b"content-length", str(len(response.body)).encode()))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})


def _encoded(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]


async def _stream(
    receive: Receive, send: Send, response: Stream, headers: list[tuple[bytes, bytes]]
) -> None:
    """Send the parts of the body, until its end or until the reader is gone or blocked."""
    source = response.source
    gone = asyncio.ensure_future(_disconnected(receive))
    gone.add_done_callback(lambda _: source.end())
    try:
        start = {"type": "http.response.start", "status": response.status, "headers": headers}
        await send(start)
        while (part := await source.next()) is not None:
            message = {"type": "http.response.body", "body": part, "more_body": True}
            if not await sent(send(message), source):
                if not source.over.done():
                    _abort(send)
                break
        if not gone.done():
            with contextlib.suppress(TimeoutError, OSError):
                end = asyncio.ensure_future(send({"type": "http.response.body", "body": b""}))
                await in_time(end, _END_SECONDS)
    finally:
        source.close()
        gone.cancel()


def _abort(send: Send) -> None:
    """Close the connection of a reader that is blocked, where the server shows it.

    ASGI has no message for it. A server that closes in order would wait for the reader: uvicorn's
    `send` belongs to an object with the transport.
    """
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    abort = getattr(transport, "abort", None)
    if callable(abort):
        abort()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def live(
    receive: Receive,
    send: Send,
    start: Callable[[], object | None],
    stop: Callable[[], Awaitable[None]],
) -> None:
    """Serve the lifespan protocol: call `start`, wait for the server's shutdown, call `stop`.

    `start` returns None if it failed, and has logged why: the message to the server stays empty.
    """
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            if start() is None:
                await send({"type": "lifespan.startup.failed", "message": ""})
                return
            await send({"type": "lifespan.startup.complete"})
        else:
            await stop()
            await send({"type": "lifespan.shutdown.complete"})
            return
