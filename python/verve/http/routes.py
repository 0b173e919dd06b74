"""Which path has which methods, who may ask, and what answers."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from verve._verve import VerveError
from verve.log.event_log import logger
from verve.request.exchange import json_error

from . import accept, api, health, metrics

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from verve.request.exchange import Request, Response
    from verve.service.worker import Worker

    Handler = Callable[[Worker, Request], Awaitable[Response]]

ACCEPT = "/api/verve/accept"


@dataclass(frozen=True, slots=True)
class Route:
    """One path. `guarded`: only for those who may look. HEAD is GET without the body."""

    methods: Mapping[str, Handler]
    guarded: bool = False


ROUTES: Mapping[str, Route] = {
    ACCEPT: Route({"GET": accept.one, "POST": accept.batch}),
    "/livez": Route({"GET": health.live, "HEAD": health.live}),
    "/readyz": Route({"GET": health.ready, "HEAD": health.ready}),
    "/metrics": Route({"GET": metrics.page, "HEAD": metrics.page}, guarded=True),
    "/api/verve/current": Route({"GET": api.current, "HEAD": api.current}, guarded=True),
    "/api/verve/windows": Route({"GET": api.windows, "HEAD": api.windows}, guarded=True),
}
"""Paths are compared as they come, percent-decoded once: a trailing slash is another path."""


async def answer(worker: Worker, request: Request) -> Response:
    """Answer any request; never raises."""
    path = request.path
    try:
        return await _answer(worker, request, path)
    except VerveError as error:
        if path == ACCEPT:
            return _failed(worker, 503, "segment unusable")
        return api.unusable(str(error))
    except Exception:  # noqa: BLE001 - the server would show its own page
        logger.exception("a request could not be answered: `%s`", path)
        with contextlib.suppress(Exception):
            if worker.counter is not None:
                worker.counter.add_to_worker_figure("errors")
        if path == ACCEPT:
            return _failed(worker, 500, "internal")
        return json_error(500, "this could not be answered", "the log of the service says why")


def _failed(worker: Worker, status: int, reason: str) -> Response:
    """A refusal that is counted if that can be done."""
    with contextlib.suppress(Exception):
        if worker.counter is not None:
            worker.counter.reject(reason)
    return accept.failed(status, reason)


async def _answer(worker: Worker, request: Request, path: str) -> Response:
    route = ROUTES.get(path)
    if route is None:
        return json_error(404, "there is no such page", f"ids are accepted at `{ACCEPT}`")
    handler = route.methods.get(request.method)
    if handler is None:
        allow = ("allow", ", ".join(route.methods))
        if path != ACCEPT:
            return json_error(405, "this page does not take that method", allow[1], allow)
        if worker.counter is None:
            return accept.failed(405, "method", allow)
        return accept.refuse(worker.counter, 405, "method", allow)
    refusal = worker.access.refusal(request) if route.guarded else None
    return await handler(worker, request) if refusal is None else refusal
