"""One HTTP request and its answer, whichever server carries them.

The routes know nothing but this page; `rsgi.py` and `asgi.py` translate it for their servers.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine, Mapping

    from .body_budget import Held

T = TypeVar("T")
Headers = list[tuple[str, str]]
"""Names in lower case with their values, in order."""


TEXT = ("content-type", "text/plain")
SHARED: Headers = [("cache-control", "no-store"), ("x-content-type-options", "nosniff")]
"""What every answer carries: no cache may keep it, and no browser take it for another type."""


class Entry(Enum):
    """The address by which a request came."""

    PUBLIC = "public"
    ADMIN = "admin"


class Request(Protocol):
    """What a route may ask of a request."""

    @property
    def entry(self) -> Entry:
        """The address by which it came."""
        ...

    @property
    def method(self) -> str:
        """The method, as sent: methods are case-sensitive."""
        ...

    @property
    def path(self) -> str:
        """The path, percent-decoded once."""
        ...

    @property
    def query(self) -> str | None:
        """The query without its `?`, still encoded; None if it is no UTF-8."""
        ...

    @property
    def peer(self) -> str:
        """The address of the other end of the connection, without port; empty if it has none."""
        ...

    def header(self, name: str) -> list[str]:
        """All values of a header, by its name in lower case."""
        ...

    def hosts(self) -> list[str]:
        """Every name by which the client called this server: Host headers and the target's."""
        ...

    async def body(self, limit: int, held: Held) -> bytes:
        """The whole body, which takes room in `held`.

        Raises `BodyTooLargeError` when it is longer than `limit` bytes, `BodyBrokenError` when it
        ended before its end, `BodiesFullError` when there is no room for it.
        """
        ...


@dataclass(frozen=True, slots=True)
class Response:
    """An answer; the server adds length and date."""

    status: int
    headers: Headers = field(default_factory=list)
    body: bytes = b""


class BodyTooLargeError(Exception):
    """The body is longer than it may be; what came of it was dropped."""


class BodyBrokenError(Exception):
    """The body ended before its end: the client went away, or broke the framing."""


def ended(response: Response) -> Response:
    """The answer, with which the server ends the connection."""
    return replace(response, headers=[*response.headers, ("connection", "close")])


def plain(status: int, body: str, *headers: tuple[str, str]) -> Response:
    """An answer of text that no cache may keep."""
    return Response(status, [TEXT, *SHARED, *headers], body.encode())


def json_object(status: int, value: Mapping[str, object], *headers: tuple[str, str]) -> Response:
    """An answer of one JSON object that no cache may keep."""
    return Response(status, [_JSON, *SHARED, *headers], json.dumps(value).encode() + b"\n")


def json_error(status: int, error: str, hint: str, *headers: tuple[str, str]) -> Response:
    """A refusal by anything but the accept family, in JSON."""
    return json_object(status, {"error": error, "hint": hint}, *headers)


def declared_length(request: Request) -> int | None:
    """What Content-Length says; None without one that makes sense, as in a chunked request."""
    values = request.header("content-length")
    if (
        len(values) == 1
        and values[0].isascii()
        and values[0].isdigit()
        and len(values[0]) <= _DIGITS
    ):
        return int(values[0])
    return None


async def gather(chunks: AsyncGenerator[bytes, None], limit: int, held: Held) -> bytes:
    """Join the chunks of a body of at most `limit` bytes, and never hold more than that.

    Of a longer one, as much again is read and dropped before `BodyTooLargeError` is raised: most
    clients write the whole body before they read, and would see a reset instead of the answer.
    """
    kept = bytearray()
    received = 0
    async with aclosing(chunks):
        async for chunk in chunks:
            received += len(chunk)
            if received <= limit:
                held.grow(len(chunk))
                kept += chunk
                continue
            held.drop()
            kept.clear()
            if received > limit * 2:
                break
    if received > limit:
        raise BodyTooLargeError
    return bytes(kept)


async def in_time(work: Coroutine[Any, Any, T] | asyncio.Future[T], seconds: float) -> T:
    """What `work` gives. Raises `TimeoutError` if it takes longer.

    A task of its own: `asyncio.timeout` cancels the current one, and under Granian's
    `--task-impl rust` there is none.
    """
    task = asyncio.ensure_future(work)
    done, _ = await asyncio.wait({task}, timeout=seconds)
    if not done:
        task.cancel()
        raise TimeoutError
    return task.result()


_JSON = ("content-type", "application/json")
# More digits than any body has bytes: `int` of a very long text is slow.
_DIGITS = 18
