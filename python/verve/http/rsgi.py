"""RSGI, Granian's own interface: its scope and protocol as a request, and the answer back."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from verve.request.exchange import BodyBrokenError, Entry, declared_length, gather

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    from verve.request.body_budget import Held
    from verve.request.exchange import Headers, Response

# A number of the HTTP answer to a handshake that is declined, not of a WebSocket close frame.
_NOT_FOUND = 404


class Scope(Protocol):
    """The part of RSGI's scope that is used here. Reading an attribute builds its value anew."""

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
        """The whole body."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The body in chunks."""
        ...

    def response_bytes(self, status: int, headers: Headers, body: bytes) -> None:
        """Answer, once."""


class RSGIRequest:
    """A request as Granian gives it."""

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
        """The address before the port: `127.0.0.1:8000`, `[::1]:8000`, or a socket's path."""
        return self._scope.client.rpartition(":")[0].removeprefix("[").removesuffix("]")

    def header(self, name: str) -> list[str]:
        """All values; one that is not visible ASCII is left out."""
        return list(self._headers.get_all(name))

    def hosts(self) -> list[str]:
        """Host headers, and the authority of an absolute target or of HTTP/2."""
        authority = self._scope.authority
        return [*self.header("host"), *([] if authority is None else [authority])]

    async def body(self, limit: int, held: Held) -> bytes:
        """The whole body."""
        declared = declared_length(self)
        if declared is not None and declared <= limit and held.expect(declared):
            try:
                return await self._protocol()
            except Exception as error:
                raise BodyBrokenError from error
        body = await gather(self._chunks(), limit, held)
        if declared is not None and declared != len(body):
            raise BodyBrokenError
        return body

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        """The body in pieces.

        Granian ends a body with one empty piece and shows a broken one by another empty piece
        before it. (So it shows trailers, which are refused with it: nobody sends them.)
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
    protocol.response_bytes(response.status, response.headers, response.body)
