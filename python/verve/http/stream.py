"""`/api/verve/stream`: the running figures each second, and each change of a window, as events.

The format is Server-Sent Events. `figures` has no id. `window` and `revision` have the id
`<ledger's id>:<number of the change>`; after a reconnect `Last-Event-ID` gets the changes since, or
a `reset` with the newest windows.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import verve
from verve._verve import VerveError, callback_figures
from verve.ledger import ledger
from verve.ledger.changes import changes
from verve.ledger.ledger import LedgerError
from verve.request.exchange import Response, Stream, json_error
from verve.service.disk_threads import DiskThreads
from verve.service.event_hub import KEPT, NO_LEDGER, Look, Position
from verve.sinks import KAFKA, LOG

from . import api, health
from .operation import Answer, Named, Operation, error

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Future

    from verve.request.exchange import Request
    from verve.service.host_facts import Facts
    from verve.service.running import RunningService

HEADERS = [
    ("content-type", "text/event-stream"),
    # A proxy must neither keep, nor compress, nor collect what is sent.
    ("cache-control", "no-store, no-transform"),
    ("x-accel-buffering", "no"),
    ("x-content-type-options", "nosniff"),
]
RETRY_SECONDS = 5
_RETRY = ("retry-after", str(RETRY_SECONDS))

STREAM = {
    "GET": Operation(
        "stream",
        "The figures each second, and each closed window and revision, as server-sent events.",
        {
            200: Answer(
                "Events, for some minutes: `figures`, `window`, `revision` and `reset`.",
                {
                    "text/event-stream": {
                        "type": "string",
                        "description": "The data of each event is a JSON object in one line.",
                    }
                },
                {
                    "cache-control": Named(
                        "Nothing keeps or changes events.",
                        {"const": "no-store, no-transform"},
                        required=True,
                    )
                },
            ),
            503: error(
                "The service drains, or this worker has no place for a further stream.",
                retry_after=Named("When to try again, in seconds.", {"type": "integer"}),
            ),
        },
        headers={
            "last-event-id": Named(
                "Id of the last event that the caller has: the stream goes on after it.",
                {"type": "string"},
            )
        },
    )
}


async def stream(service: RunningService, request: Request) -> Response:
    """Answer `/api/verve/stream`; 503 beyond a quarter of the connections, and in a drain."""
    if request.method == "HEAD":
        return Response(200, HEADERS)
    if service.draining():
        return json_error(503, "this service drains", "read the stream of another host", _RETRY)
    ids = request.header("last-event-id")
    reader = service.streams.read(lambda: _Source(service), ids[0] if len(ids) == 1 else None)
    if reader is None:
        return json_error(
            503,
            "this worker takes no further event stream",
            "close streams that nobody reads, or raise `VERVE_MAX_CONNECTIONS`",
            _RETRY,
        )
    return Stream(200, HEADERS, source=reader)


class _Source:
    """The events of a service, encoded."""

    def __init__(self, service: RunningService) -> None:
        self._service = service
        # Its own: batches may use all threads of the event loop for longer than a second.
        self._threads = DiskThreads("verve-stream", most=1)

    async def figures(self) -> bytes | None:
        """Return the event `figures`."""
        facts = await self._service.host_facts.facts()
        try:
            return await asyncio.wrap_future(self._threads.submit(lambda: self._encoded(facts)))
        except RuntimeError:  # the host denies a thread: the next second tries again
            return None

    def look(self, known: Position, *, reset: bool) -> Future[Look]:
        """Look at the ledger on a thread of the history."""
        return self._service.history.submit(lambda: self._look(known, reset=reset))

    def _encoded(self, facts: Facts) -> bytes | None:
        try:
            return _event("figures", figures(self._service, facts))
        except VerveError:
            return None

    def _look(self, known: Position, *, reset: bool) -> Look:
        counter, settings = self._service.counter, self._service.settings
        is_sound, position, floor, events = True, Position(NO_LEDGER, 0), 0, []
        try:
            # Before the windows: a change in between is then sent twice, not missed.
            found = changes(ledger.path_of(settings), known.ledger, known.number, KEPT)
            if found is not None:
                position, floor = Position(found.ledger, found.number), found.floor
                events = [
                    (
                        number,
                        _event(
                            "revision" if replaces else "window",
                            window.as_json(),
                            Position(found.ledger, number),
                        ),
                    )
                    for number, window, replaces in found.changes
                ]
        except LedgerError:
            is_sound = False
        data = None
        if reset:
            try:
                windows = api.newest(counter, settings)
            except VerveError as error:
                windows = {"windows": [], "incomplete": str(error)}
            is_sound = is_sound and "incomplete" not in windows
            data = _event("reset", windows, position if is_sound else Position(NO_LEDGER, 0))
        return Look(position=position, floor=floor, events=events, reset=data, is_sound=is_sound)


def figures(service: RunningService, facts: Facts) -> dict[str, object]:
    """Return the data of the event `figures`: the current window, and how the service is.

    Raises `VerveError` if the segment cannot be read.
    """
    counter = service.counter
    stats = counter.stats()
    leader = counter.lease.holder()
    parts = list(health.examine(service, facts))
    listed = health.in_full(parts)
    cluster = listed.get(health.REDIS)
    return {
        "version": verve.__version__,
        "now": round(counter.now(), 3),
        "ready": all(part.state is not health.State.FAILED for part in parts),
        "window": api.running(counter, facts.cluster),
        "rejected": stats["rejected"],
        "workers": [{"pid": process} for process in stats["processes"]],
        "leader": None
        if leader is None or not leader.alive
        else {"pid": leader.process, "term": leader.term},
        "sinks": [{"sink": name, **listed[name]} for name in (LOG, KAFKA) if name in listed],
        "callbacks": {
            "enabled": service.callback_sender is not None,
            **callback_figures(counter),
        },
        "cluster": None
        if cluster is None
        else {
            "cluster": service.settings.cluster,
            "host_id": stats["identity"],
            **cluster,
            "hosts": _hosts(facts),
        },
        "parts": listed,
    }


def _hosts(facts: Facts) -> list[dict[str, object]]:
    """Return the hosts of the cluster, as the leader knows them."""
    return [] if facts.cluster is None else [host.as_json() for host in facts.cluster.hosts]


def _event(name: str, data: Mapping[str, object], position: Position | None = None) -> bytes:
    """Return an event in its format. The text of JSON has no line break."""
    id = "" if position is None else f"id: {position.ledger}:{position.number}\n"
    return f"event: {name}\n{id}data: {json.dumps(data, separators=(',', ':'))}\n\n".encode()
