"""RSGI, Granian's own interface: adapts its scope and protocol to a request and an answer."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from verve.request.exchange import BodyBrokenError, Entry, Stream, declared_length, gather

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    from verve.request.body_budget import Held
    from verve.request.exchange import Headers, Response

# The HTTP status that rejects a WebSocket handshake, not the code of a close frame.
_NOT_FOUND = 404


class Scope(Protocol):
    """The part of RSGI's scope that is used here. Each read of an attribute builds a new value."""

    proto: str
    method: str
    path: str
    query_string: str
    client: str
    authority: str | None
    headers: Any


class HTTPProtocol(Protocol):
    """The part of RSGI's protocol object that is used here."""

    def __call__(self) -> Awaitable[bytes]:
        """Return the whole body."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Iterate over the chunks of the body."""
        ...

    def response_bytes(self, status: int, headers: Headers, body: bytes) -> None:
        """Send the answer; called once per request."""

    def response_stream(self, status: int, headers: Headers) -> Any:  # noqa: ANN401 - Granian's
        """Begin an answer whose body comes in parts; it ends when what this returns is dropped."""


class RSGIRequest:
    """A request from Granian in RSGI mode."""

    entry = Entry.PUBLIC

    def __init__(self, scope: Scope, protocol: HTTPProtocol) -> None:
        self._scope = scope
        self._protocol = protocol
        self.method = scope.method
        self.path = scope.path
        self.query: str | None = scope.query_string

    @cached_property
    def _headers(self) -> Any:  # noqa: ANN401 - a class of Granian's compiled module
        return self._scope.headers

    @property
    def peer(self) -> str:
        """The address in `127.0.0.1:8000` or `[::1]:8000`; empty for a Unix socket."""
        return self._scope.client.rpartition(":")[0].removeprefix("[").removesuffix("]")

    def header(self, name: str) -> list[str]:
        """All values of a header, without those that are not visible ASCII."""
        return list(self._headers.get_all(name))

    def header_names(self) -> list[str]:
        """The names of all headers in lower case, whatever their values."""
        return list(self._headers.keys())

    def hosts(self) -> list[str]:
        """Host headers, and the authority of an absolute target or of HTTP/2."""
        authority = self._scope.authority
        return [*self.header("host"), *([] if authority is None else [authority])]

    async def body(self, limit: int, held: Held) -> bytes:
        """The whole body; see `Request.body` for limits and errors."""
        declared = declared_length(self)
        if declared is not None and declared <= limit and held.expect(declared):
            try:
                return await self._protocol()
            except Exception as error:
                raise BodyBrokenError from error
        return await gather(self._chunks(), declared, limit, held)

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the chunks of the body. Raises `BodyBrokenError`.

        Granian ends a body with one empty chunk, and marks a broken body by another empty chunk
        before it. It marks trailers in the same way, so they are rejected too; clients do not send
        them.
        """
        empty = 0
        async for chunk in self._protocol:
            empty += not chunk
            yield chunk
        if empty > 1:
            raise BodyBrokenError


async def serve(
    scope: Scope,
    protocol: Any,  # noqa: ANN401 - Granian has one class for HTTP and one for WebSocket
    answer: Callable[[RSGIRequest], Awaitable[Response]],
) -> None:
    """Answer one request."""
    if scope.proto != "http":
        protocol.close(_NOT_FOUND)
        return
    response = await answer(RSGIRequest(scope, protocol))
    if isinstance(response, Stream):
        await _stream(protocol, response)
        return
    protocol.response_bytes(response.status, response.headers, response.body)


async def _stream(protocol: HTTPProtocol, response: Stream) -> None:
    """Send the parts of the body. Granian keeps what the reader does not take, without a bound."""
    source = response.source
    try:
        transport = protocol.response_stream(response.status, response.headers)
        while (part := await source.next()) is not None:
            try:
                await transport.send_bytes(part)
            except Exception:  # noqa: BLE001 - of Granian's compiled module: the reader is gone
                return
    finally:
        source.close()
