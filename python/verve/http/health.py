"""`/livez` and `/readyz`: whether this process should get requests.

A process is live if it answers. It is ready if it can count: it is not draining, its segment is
usable, an arena is free for the next window, and a leader is alive. In a cluster it is not ready
while its host joins (up to a deadline, and only if Redis answers), nor if the cluster refuses the
host. A fault that only delays reports makes a part degraded, and the process stays ready.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from verve._verve import VerveError
from verve.request.exchange import json_object, plain
from verve.sinks import KAFKA, LOG
from verve.windows.window import LATE_WINDOWS

from .operation import JSON, TEXT, Answer, Named, Operation, json_schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from verve.config import Settings
    from verve.publishing.sink_status import SinkStatus
    from verve.request.exchange import Request, Response
    from verve.service.host_facts import Facts
    from verve.service.running import RunningService
    from verve.status.cluster_status import Membership

    from .operation import Schema

REDIS = "redis"


class State(StrEnum):
    """The state of one part."""

    OK = "ok"
    DEGRADED = "degraded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the service that readiness examines."""

    name: str
    state: State
    detail: str
    figures: Mapping[str, str | int | float | None] = field(default_factory=dict)
    """Further figures, shown to every client."""
    error: str | None = None
    """The full text of the last error, shown only to clients with access."""


LIVE = plain(200, "live")
LIVENESS = {
    "GET": Operation(
        "live",
        "Whether this process answers.",
        {200: Answer("It does.", {TEXT: {"const": "live"}})},
    )
}
_PARTS: Schema = {
    "additionalProperties": {
        **json_schema("state", "detail", state={"enum": list(State)}),
    }
}
_READINESS = {
    TEXT: {"type": "string", "pattern": "^(not ready: |ready$|ready, degraded: )"},
    JSON: json_schema("ready", "parts", optional=("service",), parts=_PARTS),
}
READINESS = {
    "GET": Operation(
        "ready",
        "Whether this process should get requests.",
        {
            200: Answer("It should.", _READINESS),
            503: Answer("It should not.", _READINESS),
        },
        parameters={
            "verbose": Named("Lists each part, in JSON.", {"type": "string"}, may_be_empty=True)
        },
    )
}


async def live(_service: RunningService, _request: Request) -> Response:
    """Answer `/livez`: the event loop runs."""
    return LIVE


async def ready(service: RunningService, request: Request) -> Response:
    """Answer `/readyz`; `?verbose` lists each part."""
    parts = list(examine(service, await service.host_facts.facts()))
    may_look = service.access.refusal(request) is None
    return _page(request, parts, service.settings if may_look else None)


def ready_without_service(request: Request) -> Response:
    """Answer `/readyz` in a worker that could not start."""
    segment = Part("segment", State.FAILED, "segment unusable")
    return _page(request, [Part("process", State.OK, ""), segment], None)


def _page(request: Request, parts: list[Part], shown: Settings | None) -> Response:
    """Return the answer; `shown` are the settings, or None for a client without access."""
    failed = [part for part in parts if part.state is State.FAILED]
    degraded = [part for part in parts if part.state is State.DEGRADED]
    status = 503 if failed else 200
    if "verbose" in (pair.partition("=")[0] for pair in (request.query or "").split("&")):
        listed = {part.name: _listed(part, may_look=shown is not None) for part in parts}
        service = {} if shown is None else {"service": identity(shown)}
        return json_object(status, {"ready": not failed, "parts": listed, **service})
    if failed:
        return plain(status, "not ready: " + ", ".join(part.detail for part in failed))
    if degraded:
        return plain(status, "ready, degraded: " + ", ".join(part.detail for part in degraded))
    return plain(status, "ready")


def identity(settings: Settings) -> dict[str, object]:
    """Return the settings by which `verve check` identifies the service that answers."""
    return {
        "hostname": socket.gethostname(),
        "window_seconds": settings.window,
        "state_dir": str(settings.state_dir),
        "segment": str(settings.segment),
        "sinks": list(settings.sinks),
        "cluster": settings.cluster,
        "joins_cluster": settings.redis_url is not None,
    }


def examine(service: RunningService, facts: Facts) -> Iterator[Part]:
    """Examine every part."""
    try:
        yield _process(service)
        yield from _segment(service, facts)
    except VerveError:
        yield Part("segment", State.FAILED, "segment unusable")


def _process(service: RunningService) -> Part:
    if service.termination.draining:
        return Part("process", State.FAILED, "draining")
    return _part("process", "draining, as `verve drain` asked", failed=service.drain.is_on())


def _segment(service: RunningService, facts: Facts) -> Iterator[Part]:
    counter = service.counter
    stats = counter.stats()
    leader = counter.lease.holder()
    # Degraded only: processes that start later still join this segment.
    yield _part("segment", "segment file removed", degraded=not facts.segment_in_place)
    yield _part("arenas", "no arena free", failed=not stats["arenas"]["free"])
    yield _part("leader", "no leader", failed=leader is None or not leader.alive)
    publishing = service.leader.state()
    late = publishing.ledger_lag > LATE_WINDOWS * counter.window
    yield _part("ledger", "ledger behind", degraded=late or publishing.ledger_error is not None)
    yield _part("files", "files do not answer", degraded=facts.is_stale)
    if (log := facts.sinks.get(LOG)) is not None:
        # The segment has the lag of the log even while the ledger cannot be read.
        lag = publishing.log_lag
        log = replace(log, lag_seconds=lag, waiting=lag // counter.window)
        yield _sink(LOG, log, counter.window)
    if (kafka := facts.sinks.get(KAFKA)) is not None:
        yield _sink(KAFKA, kafka, counter.window)
    yield from _redis(service, facts.cluster, 0 if leader is None else leader.term)
    yield _part("clock", "clock distrusted", degraded=stats["clock_distrusted"] != 0)


def _sink(name: str, found: SinkStatus, window_seconds: int) -> Part:
    part = _part(name, f"{name} behind", degraded=found.is_behind(window_seconds))
    return replace(part, figures=found.figures(), error=found.error)


def _redis(service: RunningService, found: Membership | None, term: int) -> Iterator[Part]:
    """Redis out of reach leaves the host ready; a cluster that refuses the host does not."""
    if found is None:
        return
    # The status of an earlier leader says nothing about the current one.
    is_told = found.term == term and not found.is_stale
    state, detail = State.OK, ""
    if is_told and found.refusal is not None:
        state, detail = State.FAILED, "refused by the cluster: hosts speak another protocol"
    elif is_told and found.error is not None:
        service.cluster_join.end()
        state, detail = State.DEGRADED, "redis away"
    elif not is_told or not found.joined:
        state = State.FAILED if service.cluster_join.is_awaited else State.DEGRADED
        detail = "not registered in the cluster yet"
    else:
        service.cluster_join.end()
        if found.is_late:
            state, detail = State.DEGRADED, "redis behind"
    error = (found.refusal or found.error) if is_told else None
    yield Part(REDIS, state, detail, found.figures(service.settings.window), error)


def in_full(parts: list[Part]) -> dict[str, dict[str, object]]:
    """Return the parts as `?verbose` lists them to a client with access."""
    return {part.name: _listed(part, may_look=True) for part in parts}


def _listed(part: Part, *, may_look: bool) -> dict[str, object]:
    listed: dict[str, object] = {"state": part.state, "detail": part.detail, **part.figures}
    return {**listed, "last_error": part.error} if part.figures and may_look else listed


def _part(name: str, detail: str, *, failed: bool = False, degraded: bool = False) -> Part:
    """Return a part with `detail` if it is `failed` or `degraded`, else one that is well."""
    if failed or degraded:
        return Part(name, State.FAILED if failed else State.DEGRADED, detail)
    return Part(name, State.OK, "")
