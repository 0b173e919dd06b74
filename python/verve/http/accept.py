"""The accept route: one id per GET, a batch of ids per POST.

Every rejection has the body `failed`, with the reason in the header `verve-error` and in a metric.
The table in `rust/core/src/request/rejection.rs` defines the names of the reasons.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, TypeVar

from verve._verve import REJECTIONS, Group, names_single, shard_of
from verve.request.body_budget import BodiesFullError
from verve.request.exchange import (
    BodyBrokenError,
    BodyTooLargeError,
    Response,
    declared_length,
    in_time,
    plain,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from verve._verve import Counter
    from verve.cluster.replication.sender import IdSender
    from verve.request.exchange import Headers, Request
    from verve.service.running import RunningService

    _Answer = tuple[int, Headers, bytes]

T = TypeVar("T")

KINDS = {
    "application/octet-stream": "binary",
    "application/json": "json",
    "text/plain": "text",
}
"""The content types of a batch, each with the counter's name for it."""
CONFIRM_SECONDS = 2.0
"""Maximum time that the store may take to acknowledge the ids of a request."""

_OK = 200
_BODY_ERRORS = (BodyTooLargeError, BodyBrokenError, BodiesFullError, TimeoutError)
# The parameter name `id` and the digits have the same bytes in all of these charsets.
_CHARSETS = {"", "utf-8", "us-ascii"}


async def one(service: RunningService, request: Request) -> Response:
    """Answer `GET /api/verve/accept?id=7`, on the event loop because it is fast enough."""
    if request.query is None:
        return reject(service.counter, "id invalid")
    confirmer = service.confirmer
    if confirmer is None:
        return Response(*service.accepter.accept(request.query))
    answer, placed = service.accepter.accept_placed(request.query)
    if placed is None:
        return Response(*answer)
    window_start, id = placed
    member = id.to_bytes(8, "little", signed=True)
    groups = [Group(window_start, shard_of(id), [member])]
    return await _confirmed(service.counter, confirmer, answer, groups)


async def batch(service: RunningService, request: Request) -> Response:
    """Answer `POST /api/verve/accept`: read the body within the limits, count it on a thread."""
    counter = service.counter
    kind = _kind(request.header("content-type"))
    if request.query is None or names_single(request.query):
        rejection = reject(counter, "query in batch")
    elif kind is None:
        rejection = reject(counter, "body type", ("accept-post", ", ".join(KINDS)))
    elif any(value.strip().lower() != "identity" for value in request.header("content-encoding")):
        rejection = reject(counter, "body encoding", ("accept-encoding", "identity"))
    else:
        return await _counted(service, kind, request)
    # Read the unused body: a server that answers before the body ends closes the connection.
    if not _waits(request):
        with contextlib.suppress(*_BODY_ERRORS):
            await _body(service, request, len)
    return rejection


async def _counted(service: RunningService, kind: str, request: Request) -> Response:
    counter, confirmer = service.counter, service.confirmer

    def count(body: bytes) -> tuple[_Answer, list[Group]]:
        if confirmer is None:
            return counter.http.accept_batch(kind, body), []
        return counter.http.accept_batch_placed(kind, body)

    try:
        answer, groups = await _body(service, request, count)
        if confirmer is not None and groups and answer[0] == _OK:
            return await _confirmed(counter, confirmer, answer, groups)
        return Response(*answer)
    except BodyTooLargeError:
        return reject(counter, "body too large")
    except BodyBrokenError:
        return reject(counter, "body invalid")
    except TimeoutError:
        return reject(counter, "body too slow")
    except BodiesFullError:
        return reject(counter, "bodies full", ("retry-after", "1"))


async def _confirmed(
    counter: Counter, confirmer: IdSender, answer: _Answer, groups: list[Group]
) -> Response:
    """Return the answer once the store has acknowledged these ids (`VERVE_ACK=store`)."""
    with contextlib.suppress(TimeoutError):
        confirmation = confirmer.confirm(groups)
        await in_time(asyncio.wrap_future(confirmation), CONFIRM_SECONDS)
        return Response(*answer)
    return reject(counter, "store unconfirmed", ("retry-after", "1"))


def reject(counter: Counter, reason: str, *headers: tuple[str, str]) -> Response:
    """Count a rejection that the counter does not count by itself, and return its answer."""
    counter.http.reject(reason)
    return failed(reason, *headers)


def failed(reason: str, *headers: tuple[str, str]) -> Response:
    """Return the answer of a rejection, with the status of its reason; counts nothing."""
    return plain(REJECTIONS[reason], "failed", ("verve-error", reason), *headers)


def _kind(values: list[str]) -> str | None:
    """Return the kind that a single Content-Type names; None for any other header."""
    if len(values) != 1:
        return None
    kind, *parameters = values[0].split(";")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and value.strip(' "').lower() not in _CHARSETS:
            return None
    return KINDS.get(kind.strip().lower())


async def _body(service: RunningService, request: Request, use: Callable[[bytes], T]) -> T:
    """Read the body within the limits, then return the result of `use(body)` from a thread."""
    limit = service.settings.max_body
    declared = declared_length(request)
    # A client that waits for `100 Continue` has sent nothing; one that sends far too much is cut.
    if declared is not None and declared > limit and (_waits(request) or declared > limit * 2):
        raise BodyTooLargeError
    with service.bodies.held() as held:
        body = await in_time(request.body(limit, held), service.settings.body_timeout)
        # No other work that may block uses this pool.
        return await asyncio.to_thread(use, body)


def _waits(request: Request) -> bool:
    """Whether the client waits for `100 Continue` before it sends the body."""
    return any("100-continue" in value.lower() for value in request.header("expect"))
