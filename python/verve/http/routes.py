"""The table of routes: methods, access and handler of each path."""

from __future__ import annotations

import contextlib
import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import verve
from verve._verve import VerveError
from verve.log.event_log import logger
from verve.request.access import Access, Rule
from verve.request.exchange import Entry, json_error, json_object

from . import (
    accept,
    accept_operations,
    api,
    distinct,
    exposition,
    health,
    openapi,
    page,
    stream,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from verve.config import Settings
    from verve.request.exchange import Request, Response
    from verve.service.running import RunningService

    from .operation import Operation

    Handler = Callable[[RunningService, Request], Awaitable[Response]]
    Operations = Callable[[Settings], Mapping[str, Operation]]

ACCEPT = "/api/verve/accept"
_NO_DESCRIPTOR = {errno.EMFILE, errno.ENFILE}


@dataclass(frozen=True, slots=True)
class Route:
    """The route of one path. HEAD is GET without the body."""

    methods: Mapping[str, Handler]
    without_service: Callable[[Request], Response]
    """The answer of a worker that could not start: its server still takes requests."""
    operations: Operations
    """The description of each method but HEAD, under these settings."""
    guarded: bool = False
    """Whether the route requires access."""
    is_admin: bool = False
    """Whether only the admin address has the route, if there is one; guarded routes are so too."""
    enabled: Callable[[Settings], bool] = lambda _: True
    """Whether the settings have the route."""


def _page(
    handler: Handler, operations: Operations, without_service: Callable[[Request], Response]
) -> Route:
    """Return the route of a page that is open to everyone."""
    return Route({"GET": handler, "HEAD": handler}, without_service, operations=operations)


def _figures(
    handler: Handler,
    operations: Operations,
    enabled: Callable[[Settings], bool] = lambda _: True,
) -> Route:
    """Return the route of a page of figures, which requires access."""
    methods = {"GET": handler, "HEAD": handler}
    return Route(methods, _no_figures, guarded=True, operations=operations, enabled=enabled)


def _no_figures(request: Request) -> Response:
    unusable = api.unusable("the segment could not be attached")
    return _LOOPBACK_ONLY.refusal(request) or unusable


# A worker that could not start has no settings, so the loopback rule applies.
_LOOPBACK_ONLY = Access(everyone=False, tokens=None)


# By the address that it describes, with the settings that it was made for: it takes milliseconds.
_documents: dict[Entry, tuple[Settings, Response]] = {}


async def _document(service: RunningService, request: Request) -> Response:
    """Answer `/openapi.json`: the routes of the address that the request arrived at."""
    settings, made = _documents.get(request.entry, (None, None))
    if made is None or settings is not service.settings:
        made = json_object(200, _described(service, request))
        _documents[request.entry] = service.settings, made
    return made


def _described(service: RunningService, request: Request) -> dict[str, Any]:
    rule, settings = service.access.rule, service.settings
    described = {
        path: openapi.Described(
            route.operations(settings),
            guarded=route.guarded and rule is not Rule.OPEN,
            token=route.guarded and rule is Rule.TOKEN,
            head="HEAD" in route.methods,
        )
        for path, route in ROUTES.items()
        if not _is_absent(service, request, route)
    }
    return openapi.document(described, token=rule is Rule.TOKEN)


ROUTES: Mapping[str, Route] = {
    "/": Route(
        {"GET": page.page, "HEAD": page.page},
        lambda _: api.unusable("the segment could not be attached"),
        operations=lambda _: page.PAGE,
        is_admin=True,
        enabled=lambda settings: settings.page,
    ),
    ACCEPT: Route(
        {"GET": accept.one, "POST": accept.batch},
        lambda _: accept.failed("segment unusable"),
        operations=accept_operations.operations,
    ),
    "/livez": _page(health.live, lambda _: health.LIVENESS, lambda _: health.LIVE),
    "/readyz": _page(health.ready, lambda _: health.READINESS, health.ready_without_service),
    "/metrics": _figures(exposition.page, lambda _: exposition.METRICS_PAGE),
    "/api/verve/current": _figures(api.current, api.current_operations),
    "/api/verve/windows": _figures(api.windows, api.windows_operations),
    "/api/verve/distinct": _figures(distinct.distinct, distinct.operations, distinct.is_enabled),
    "/api/verve/stream": _figures(stream.stream, lambda _: stream.STREAM),
    openapi.PATH: _page(
        _document,
        lambda _: openapi.DOCUMENT,
        lambda _: api.unusable("the segment could not be attached"),
    ),
}
"""Paths are compared after one percent-decoding: a trailing slash makes a different path."""


def prepare(settings: Settings) -> None:
    """Read the files that routes need, when a worker starts: it may have no descriptor later."""
    if settings.page:
        page.joined()
    _ = verve.__version__


async def answer(service: RunningService | None, request: Request) -> Response:
    """Answer any request, also while no service runs; never raises an `Exception`."""
    path = request.path
    try:
        return await _answer(service, request, path)
    except VerveError as error:
        if path == ACCEPT:
            return _failed(service, "segment unusable")
        return api.unusable(str(error))
    except Exception as error:  # noqa: BLE001 - the server would send its own page
        if isinstance(error, OSError) and error.errno in _NO_DESCRIPTOR and path != ACCEPT:
            return json_error(
                503,
                "this worker has no file descriptors left",
                "raise the limit of open files (`ulimit -n`)",
            )
        logger.exception("a request could not be answered: `%s`", path)
        with contextlib.suppress(Exception):
            if service is not None:
                service.counter.worker_figures.add("errors")
        if path == ACCEPT:
            return _failed(service, "internal")
        return json_error(500, "this could not be answered", "the log of the service says why")


def _failed(service: RunningService | None, reason: str) -> Response:
    """Return a rejection, and count it if possible."""
    with contextlib.suppress(Exception):
        if service is not None:
            service.counter.http.reject(reason)
    return accept.failed(reason)


def _is_absent(service: RunningService | None, request: Request, route: Route) -> bool:
    """Whether the address that the request came by does not have this route."""
    if service is None:
        return False
    is_elsewhere = service.settings.admin_listen is not None and request.entry is Entry.PUBLIC
    is_admin = route.guarded or route.is_admin
    return (is_admin and is_elsewhere) or not route.enabled(service.settings)


async def _answer(service: RunningService | None, request: Request, path: str) -> Response:
    route = ROUTES.get(path)
    if route is None or _is_absent(service, request, route):
        return json_error(404, "there is no such page", f"ids are accepted at `{ACCEPT}`")
    handler = route.methods.get(request.method)
    if handler is None:
        allow = ("allow", ", ".join(route.methods))
        if path != ACCEPT:
            return json_error(405, "this page does not take that method", allow[1], allow)
        if service is None:
            return accept.failed("method", allow)
        return accept.reject(service.counter, "method", allow)
    if service is None:
        return route.without_service(request)
    refusal = service.access.refusal(request) if route.guarded else None
    return await handler(service, request) if refusal is None else refusal
