"""The accept family: one id by GET, a batch of ids by POST.

Every refusal has the body `failed`, with the reason in the header `verve-error` and in a metric.
The names of the reasons are those of the table in `rust/core/src/refusal.rs`.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, TypeVar

from verve._verve import names_single

from .bodies import BodiesFullError
from .exchange import BodyBrokenError, BodyTooLargeError, Response, declared_length

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from verve._verve import Counter
    from verve.worker import Worker

    from .exchange import Headers, Request

    _Answer = tuple[int, Headers, bytes]

T = TypeVar("T")

KINDS = {
    "application/octet-stream": "binary",
    "application/json": "json",
    "text/plain": "text",
}
"""The content types of a batch, with what the counter calls them."""
BODY_SECONDS = 30.0
"""That a client may take to send a batch."""

_BODY_ERRORS = (BodyTooLargeError, BodyBrokenError, BodiesFullError, TimeoutError)
# The names of ids and digits are the same bytes in all of these.
_CHARSETS = {"", "utf-8", "us-ascii"}


async def one(worker: Worker, request: Request) -> Response:
    """`GET /api/verve/accept?id=7`: quick enough for the event loop."""
    counter, taker = worker.counter, worker.taker
    if counter is None or taker is None:
        return failed(503, "segment unusable")
    if request.query is None:
        return refuse(counter, 400, "id invalid")
    return Response(*taker.accept(request.query))


async def batch(worker: Worker, request: Request) -> Response:
    """`POST /api/verve/accept`: the body is read within the limit, then parsed on a thread."""
    counter = worker.counter
    if counter is None:
        return failed(503, "segment unusable")
    kind = _kind(request.header("content-type"))
    if request.query is None or names_single(request.query):
        refusal = refuse(counter, 400, "query in batch")
    elif kind is None:
        refusal = refuse(counter, 415, "body type", ("accept-post", ", ".join(KINDS)))
    elif any(value.strip().lower() != "identity" for value in request.header("content-encoding")):
        refusal = refuse(counter, 415, "body encoding", ("accept-encoding", "identity"))
    else:
        return await _counted(worker, counter, kind, request)
    # Read what nobody wants: a server that answers first ends the connection with the answer.
    if not _waits(request):
        with contextlib.suppress(*_BODY_ERRORS):
            await _body(worker, request, len)
    return refusal


async def _counted(worker: Worker, counter: Counter, kind: str, request: Request) -> Response:
    def count(body: bytes) -> _Answer:
        return counter.accept_batch(kind, body)

    try:
        return Response(*await _body(worker, request, count))
    except BodyTooLargeError:
        return refuse(counter, 413, "body too large")
    except BodyBrokenError:
        return refuse(counter, 400, "body invalid")
    except TimeoutError:
        return refuse(counter, 408, "body too slow")
    except BodiesFullError:
        return refuse(counter, 503, "bodies full", ("retry-after", "1"))


def refuse(counter: Counter, status: int, reason: str, *headers: tuple[str, str]) -> Response:
    """A refusal that the counter does not see by itself, counted."""
    counter.reject(reason)
    return failed(status, reason, *headers)


def failed(status: int, reason: str, *headers: tuple[str, str]) -> Response:
    """The answer to an accept that was not counted."""
    known = [("cache-control", "no-store"), ("verve-error", reason)]
    return Response(status, [*known, *headers], b"failed")


def _kind(values: list[str]) -> str | None:
    """The form that exactly one Content-Type names."""
    if len(values) != 1:
        return None
    kind, *parameters = values[0].split(";")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and value.strip(' "').lower() not in _CHARSETS:
            return None
    return KINDS.get(kind.strip().lower())


async def _body(worker: Worker, request: Request, use: Callable[[bytes], T]) -> T:
    """Read the body within the limits, and what `use` makes of it, on a thread."""
    limit = worker.max_body
    declared = declared_length(request)
    # Who waits for leave to send has sent nothing yet, and who sends far too much is cut off.
    if declared is not None and declared > limit and (_waits(request) or declared > limit * 2):
        raise BodyTooLargeError
    with worker.bodies.room(limit if declared is None else min(declared, limit)):
        body = await in_time(request.body(limit), BODY_SECONDS)
        return await asyncio.to_thread(use, body)


async def in_time(work: Coroutine[Any, Any, T], seconds: float) -> T:
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


def _waits(request: Request) -> bool:
    """Whether the client sends the body only once it is told to go on."""
    return any("100-continue" in value.lower() for value in request.header("expect"))
