"""`/api/verve/current` and `/api/verve/windows`: the figures of this host in JSON."""

from __future__ import annotations

import asyncio
import math
import re
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING
from urllib.parse import unquote

from verve.ledger import ledger
from verve.ledger.ledger import LedgerError
from verve.publishing.window_source import provisional_count
from verve.request.exchange import in_time, json_error, json_object
from verve.status import archive_status
from verve.status.cluster_status import seconds_since
from verve.timestamps import rfc3339
from verve.windows.window import Key, Window

from .operation import JSON, Answer, Named, Operation, error, json_schema

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from verve._verve import Counter, WindowRecord
    from verve.config import Settings
    from verve.request.exchange import Request, Response
    from verve.service.running import RunningService
    from verve.status.cluster_status import Membership

    from .operation import Schema

DEFAULT_LIMIT = 60
LARGEST_LIMIT = 10_080
"""A week of minutes."""
HISTORY_SECONDS = 5.0
"""Maximum time that a read of the ledger may take."""

_PARAMETERS = ("limit", "since", "until")
_COUNT = re.compile(r"[0-9]{1,9}")
_EPOCH = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,9})?")
# RFC 3339 also allows a space instead of the T; it requires the offset.
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})"
)

_FIGURES = (
    "window_start",
    "window_seconds",
    "unique",
    "requests",
    "duplicates",
    "late",
    "rejected",
)
_AT_TIMES = ("host_unique", "archive")
MOMENT: Schema = {
    "anyOf": [
        {"type": "string", "format": "date-time"},
        {"type": "string", "pattern": f"^{_EPOCH.pattern}$"},
    ]
}


def current_operations(settings: Settings) -> Mapping[str, Operation]:
    """Describe `/api/verve/current`."""
    cluster = ("host_unique", "cluster_age_seconds") if settings.redis_url is not None else ()
    schema = json_schema(*_FIGURES, *cluster)
    answers = {200: Answer("The figures of the current window.", {JSON: schema})}
    return {"GET": Operation("current", "The current window.", answers)}


def windows_operations(_settings: Settings) -> Mapping[str, Operation]:
    """Describe `/api/verve/windows`."""
    window = json_schema(
        *_FIGURES, "gap", "degraded", "revision", optional=("host_unique", "archive")
    )
    found = json_schema("windows", optional=("incomplete",), windows={"items": window})
    parameters = {
        "limit": Named(
            f"Maximum number of windows, {DEFAULT_LIMIT} if not given.",
            {"type": "integer", "minimum": 1, "maximum": LARGEST_LIMIT, "default": DEFAULT_LIMIT},
        ),
        "since": Named(
            "Windows that start at this time or later: RFC 3339, or seconds since the epoch.",
            MOMENT,
        ),
        "until": Named("Windows that start before this time, in the same forms.", MOMENT),
    }
    answers = {
        200: Answer("Closed windows, newest first.", {JSON: found}),
        400: error("A parameter is invalid or repeated."),
    }
    return {"GET": Operation("windows", "The closed windows.", answers, parameters)}


class BadParameterError(Exception):
    """An invalid parameter: the problem with the value, and a hint."""

    def __init__(self, problem: str, hint: str) -> None:
        super().__init__(problem)
        self.hint = hint


async def current(service: RunningService, _request: Request) -> Response:
    """Answer `/api/verve/current`: the figures of the current window."""
    facts = await service.host_facts.facts()
    return json_object(200, await asyncio.to_thread(running, service.counter, facts.cluster))


def running(counter: Counter, cluster: Membership | None) -> dict[str, object]:
    """Return the figures of the current window as the fields of a JSON object."""
    record = counter.current()
    return {
        "window_start": rfc3339(record.window_start),
        "window_seconds": record.window_seconds,
        **_unique(counter, cluster, record),
        "requests": record.requests,
        "duplicates": record.duplicates,
        "late": record.late,
        "rejected": record.rejected,
    }


def _unique(
    counter: Counter, cluster: Membership | None, record: WindowRecord
) -> dict[str, object]:
    """Return the count: in a cluster that of all hosts, which the leader reads twice per second.

    `cluster_age_seconds` is the maximum age of that count; null if Redis has given none for this
    window.
    """
    if cluster is None:
        return {"unique": record.unique}
    known = counter.replication.cluster_count(record.window_start)
    age = seconds_since(cluster.counted)
    return {
        "unique": max(record.unique, known or 0),
        "host_unique": record.unique,
        "cluster_age_seconds": None if known is None or age is None else round(age, 1),
    }


async def windows(service: RunningService, request: Request) -> Response:
    """Answer `/api/verve/windows`: sealed windows, newest first, from the ledger and the ring."""
    try:
        given = parameters(request.query or "")
        limit, since, until = count(given), moment(given, "since"), moment(given, "until")
    except BadParameterError as error:
        return json_error(400, str(error), error.hint)
    look = service.history.submit(
        lambda: _windows(service.counter, service.settings, limit, since, until)
    )
    try:
        found = await in_time(asyncio.wrap_future(look), HISTORY_SECONDS)
    except TimeoutError:
        return unusable("the ledger does not answer; hint: look at the disk of `VERVE_STATE_DIR`")
    return json_object(200, found)


def unusable(error: str) -> Response:
    """Return the answer for figures that cannot be read: 503 with the error and its hint."""
    problem, _, hint = error.partition("; hint: ")
    return json_error(503, problem, hint or "the log of the service says why")


def parameters(query: str, names: Collection[str] = _PARAMETERS) -> dict[str, str]:
    """Return the parameters of a query that are in `names`; `+` is a literal plus sign.

    Raises `BadParameterError` for a repeated parameter.
    """
    found: dict[str, str] = {}
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        name = unquote(name)
        if name in names:
            if name in found:
                raise BadParameterError(f"a parameter is repeated: `{name}`", "give it once")
            found[name] = unquote(value)
    return found


def count(given: dict[str, str]) -> int:
    """Return the value of `limit`. Raises `BadParameterError`."""
    text = given.get("limit", str(DEFAULT_LIMIT))
    if not _COUNT.fullmatch(text) or not 1 <= int(text) <= LARGEST_LIMIT:
        raise BadParameterError(f"`limit` is no such number: `{text}`", f"use 1 to {LARGEST_LIMIT}")
    return int(text)


def moment(given: dict[str, str], name: str) -> int | None:
    """Return a time in whole seconds since the epoch, or None without the parameter.

    Rounds a fraction up, since windows start on whole seconds. Raises `BadParameterError`.
    """
    text = given.get(name)
    if text is None:
        return None
    if _EPOCH.fullmatch(text):
        return math.ceil(Decimal(text))
    try:
        if not _TIME.fullmatch(text):
            raise ValueError(text)  # noqa: TRY301 - one handler for form and date
        return math.ceil(datetime.fromisoformat(text.upper()).timestamp())
    except (ValueError, OverflowError):
        raise BadParameterError(
            f"`{name}` is no time: `{text}`",
            "use RFC 3339, such as `2026-11-22T21:58:00Z`, or seconds since the epoch",
        ) from None


def _waiting(counter: Counter, settings: Settings, record: WindowRecord) -> Window:
    """Return a window that the ledger does not have yet; in a cluster, its provisional count."""
    window = Window.from_record(record)
    return window if settings.redis_url is None else provisional_count(counter, window)


def newest(counter: Counter, settings: Settings) -> dict[str, object]:
    """Return the answer of `/api/verve/windows` without parameters. Reads the ledger's file."""
    return _windows(counter, settings, DEFAULT_LIMIT, None, None)


def _windows(
    counter: Counter, settings: Settings, limit: int, since: int | None, until: int | None
) -> dict[str, object]:
    """Return the windows of the ledger, and those of the ring that the ledger does not have yet.

    If the ledger cannot be read, the answer has only the windows of the ring and says why in
    `incomplete`.
    """
    # Read the ring first: a window that moves to the ledger in between is found twice, not missed.
    waiting = (_waiting(counter, settings, record) for record in counter.closed())
    found = {
        window.key: window
        for window in waiting
        if (since is None or window.window_start >= since)
        and (until is None or window.window_start < until)
    }
    trouble: dict[str, object] = {}
    try:
        stored = ledger.rows(ledger.path_of(settings), limit=limit, since=since, until=until)
        found.update({window.key: window for window in stored})
    except LedgerError as error:
        trouble["incomplete"] = str(error)
    newest_first = sorted(found.items(), reverse=True)[:limit]
    unkept = _unkept(settings)
    shown = [
        window.as_json() | ({"archive": unkept[key]} if key in unkept else {})
        for key, window in newest_first
    ]
    return {"windows": shown, **trouble}


def _unkept(settings: Settings) -> Mapping[Key, str]:
    """The newest windows whose ids the archive does not have, each with what became of them."""
    if settings.archive is None:
        return {}
    found = archive_status.of(settings).unkept
    return {Key(one.window_start, one.window_seconds): one.state for one in found}
