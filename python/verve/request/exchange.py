"""One HTTP request and its answer, independent of the server.

The routes use only these types; `rsgi.py`, `asgi.py` and `native.py` adapt their servers to them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Coroutine, Iterable, Mapping

    from .body_budget import Held

T = TypeVar("T")
Headers = list[tuple[str, str]]
"""Names in lower case with their values, in order."""


TEXT = ("content-type", "text/plain")
SHARED: Headers = [("cache-control", "no-store"), ("x-content-type-options", "nosniff")]
"""Headers of every answer: caches must not store it, and browsers must not guess its type."""


class Entry(Enum):
    """The listening address that a request arrived at."""

    PUBLIC = "public"
    ADMIN = "admin"


class Request(Protocol):
    """The interface of a request that routes use."""

    @property
    def entry(self) -> Entry:
        """The listening address that the request arrived at."""
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
        """The query without its `?`, still encoded; None if it is not UTF-8."""
        ...

    @property
    def peer(self) -> str:
        """The address of the connection's peer, without port; empty if it has none."""
        ...

    def header(self, name: str) -> list[str]:
        """All values of a header, by its name in lower case."""
        ...

    def header_names(self) -> Iterable[str]:
        """The names of all headers in lower case, whatever their values."""
        ...

    def hosts(self) -> list[str]:
        """Every name that the client used for this server: Host headers and the authority."""
        ...

    async def body(self, limit: int, held: Held) -> bytes:
        """Return the whole body, which takes room in `held`.

        Raises `BodyTooLargeError` if it is longer than `limit` bytes, `BodyBrokenError` if it is
        incomplete, `BodiesFullError` if there is no room for it.
        """
        ...


@dataclass(frozen=True, slots=True)
class Response:
    """An answer; the server adds its length and the date."""

    status: int
    headers: Headers = field(default_factory=list)
    body: bytes = b""


class Chunks(Protocol):
    """The body of an answer that has no end yet. The server's adapter takes and closes it."""

    @property
    def over(self) -> asyncio.Future[None]:
        """Done once the body is to end at once, even if part of it is not sent yet."""
        ...

    async def next(self) -> bytes | None:
        """Wait for the next part; None at the end."""
        ...

    def end(self) -> None:
        """Have `next` return None from now on."""
        ...

    def close(self) -> None:
        """Give up what the body holds. Always called, once."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream(Response):
    """An answer whose body comes in parts; `body` is empty."""

    source: Chunks


BLOCKED_SECONDS = 10.0
"""Seconds after which a reader that takes nothing is disconnected, if the server reports it."""


async def sent(work: Awaitable[None], source: Chunks) -> bool:
    """Wait until a part of `source` is sent. False if the reader is gone, blocked, or to be cut.

    Most parts are sent at once, so this makes no task.
    """
    try:
        async with asyncio.timeout(BLOCKED_SECONDS) as limit:

            def cut(_: object) -> None:
                with contextlib.suppress(RuntimeError):  # it has just been sent
                    limit.reschedule(0)

            source.over.add_done_callback(cut)
            try:
                await work
            finally:
                source.over.remove_done_callback(cut)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        return False  # the server's own way to say that the reader is gone
    except Exception:  # noqa: BLE001 - each server says in its own way that the reader is gone
        return False
    return True


class BodyTooLargeError(Exception):
    """The body is longer than the limit; the bytes that arrived are dropped."""


class BodyBrokenError(Exception):
    """The body is incomplete: the client disconnected, or broke the framing."""


def ended(response: Response) -> Response:
    """Return the answer with a header by which the server closes the connection."""
    return replace(response, headers=[*response.headers, ("connection", "close")])


def plain(status: int, body: str, *headers: tuple[str, str]) -> Response:
    """Return an answer of plain text that caches must not store."""
    return Response(status, [TEXT, *SHARED, *headers], body.encode())


def json_object(status: int, value: Mapping[str, object], *headers: tuple[str, str]) -> Response:
    """Return an answer of one JSON object that caches must not store."""
    return Response(status, [_JSON, *SHARED, *headers], json.dumps(value).encode() + b"\n")


def json_error(status: int, error: str, hint: str, *headers: tuple[str, str]) -> Response:
    """Return an error answer in JSON, as every route but the accept route sends it."""
    return json_object(status, {"error": error, "hint": hint}, *headers)


def declared_length(request: Request) -> int | None:
    """Return the Content-Length in bytes; None without a valid one, as in a chunked request.

    One of more than `_DIGITS` digits is cut off: it is above any limit all the same.
    """
    values = request.header("content-length")
    if len(values) != 1 or not (values[0].isascii() and values[0].isdigit()):
        return None
    return int(values[0].lstrip("0")[:_DIGITS] or "0")


async def gather(
    chunks: AsyncGenerator[bytes, None], declared: int | None, limit: int, held: Held
) -> bytes:
    """Join the chunks of a body of at most `limit` bytes, and never keep more than that.

    Reads and drops up to `limit` further bytes of a longer body, then raises `BodyTooLargeError`:
    most clients send the whole body before they read, and would see a reset instead of the answer.
    Raises `BodiesFullError` if there is no room, `BodyBrokenError` if its length is not the
    declared one.
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
    if declared is not None and declared != received:
        raise BodyBrokenError
    return bytes(kept)


async def in_time(work: Coroutine[Any, Any, T] | asyncio.Future[T], seconds: float) -> T:
    """Return the result of `work`. Raises `TimeoutError` if it takes longer than `seconds`.

    Runs `work` in a separate task: `asyncio.timeout` cancels the current task, and there is none
    under Granian's `--task-impl rust`.
    """
    task = asyncio.ensure_future(work)
    done, _ = await asyncio.wait({task}, timeout=seconds)
    if not done:
        task.cancel()
        raise TimeoutError
    return task.result()


_JSON = ("content-type", "application/json")
# More than any limit has; a bound, because `int` of a very long text is slow.
_DIGITS = 18
