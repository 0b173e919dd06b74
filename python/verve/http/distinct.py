"""`/api/verve/distinct`: exact counts of any span, from the archive.

A query runs in a process of its own, at idle priority: it takes no time from requests. One runs on
a host at once, and it is killed at a deadline.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from verve.archive.query.span import MOST_BUCKETS, By
from verve.archive.query.turn import turn
from verve.request.exchange import json_error, json_object

from .api import MOMENT, BadParameterError, moment, parameters, unusable
from .operation import JSON, Answer, Named, Operation, error, json_schema

if TYPE_CHECKING:
    from collections.abc import Mapping

    from verve.config import Settings
    from verve.request.exchange import Request, Response
    from verve.service.running import RunningService

DEADLINE_SECONDS = 30.0
_COMMAND = (sys.executable, "-P", "-m", "verve.archive.query")
_LONGEST_ERROR = 2_000
_one_at_a_time = threading.Lock()
"""For the queries of this worker; the processes hold a lock that is the host's."""


def is_enabled(settings: Settings) -> bool:
    """Whether there is an archive."""
    return settings.archive is not None


def operations(_settings: Settings) -> Mapping[str, Operation]:
    """Describe `/api/verve/distinct`."""
    bucket = json_schema("span_start", "span_end", "distinct", "complete")
    missing = json_schema("host_name", "span_start", "span_end", "missing_windows", "reason")
    found = json_schema(
        *("span_start", "span_end", "complete", "archive_hosts", "hosts_known", "missing"),
        *("rows", "files"),
        optional=("distinct", "by", "buckets"),
        missing={"items": missing},
        buckets={"items": bucket},
    )
    parameters = {
        "since": Named(
            "Start of the span: RFC 3339, or seconds since the epoch.",
            MOMENT,
            required=True,
        ),
        "until": Named(
            "End of the span, which is not part of it, in the same forms.",
            MOMENT,
            required=True,
        ),
        "by": Named(
            "Counts each part of the span; a minute stands for a window.",
            {"type": "string", "enum": [str(one) for one in By]},
        ),
    }
    answers = {
        200: Answer("The exact count of all windows that the archive has.", {JSON: found}),
        400: error(
            "A parameter is invalid or repeated, or the span cannot be answered: it does not "
            f"consist of whole windows, or has more than {MOST_BUCKETS} parts."
        ),
        503: error(
            "Another query runs, this one took longer than "
            f"{DEADLINE_SECONDS:.0f} s, or the archive cannot be read."
        ),
    }
    summary = "Distinct ids of a span, from the archive."
    return {"GET": Operation("distinct", summary, answers, parameters)}


async def distinct(service: RunningService, request: Request) -> Response:
    """Answer `/api/verve/distinct`."""
    try:
        query = _query(service.settings, request.query or "")
    except BadParameterError as wrong:
        return json_error(400, str(wrong), wrong.hint)
    if not _one_at_a_time.acquire(blocking=False):
        return _busy()
    try:
        found = await asyncio.shield(asyncio.to_thread(_run, query))
    except RuntimeError:
        # The threads are ending with the service.
        return unusable("the service is ending; hint: ask again when it has started")
    return _answered(found)


def _query(settings: Settings, text: str) -> dict[str, Any]:
    given = parameters(text, ("since", "until", "by"))
    since, until = moment(given, "since"), moment(given, "until")
    if since is None or until is None:
        raise BadParameterError("`since` or `until` is missing", "give both ends of the span")
    by = given.get("by")
    if by is not None and by not in set(By):
        raise BadParameterError(f"`by` is unknown: `{by}`", "use `minute`, `hour` or `day`")
    if not 0 <= since < until:
        raise BadParameterError("the span ends before it begins", "give a `since` before `until`")
    if until > time.time():
        raise BadParameterError("the span has not ended", "give an `until` that has passed")
    return {
        "archive": settings.archive,
        "cluster": settings.cluster,
        "state_dir": str(settings.state_dir),
        "memory": settings.archive_memory,
        "seconds": DEADLINE_SECONDS,
        "since": since,
        "until": until,
        "by": by,
    }


def _run(query: dict[str, Any]) -> dict[str, Any]:
    """Run a query in its process, in a thread of this one."""
    try:
        # The process of another worker may have the turn. Without a process of ours that is cheap.
        with turn(Path(query["state_dir"])) as is_free:
            if not is_free:
                return {"kind": "busy"}
        with subprocess.Popen(  # noqa: S603 - the command is ours
            _COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            return _communicate(process, json.dumps(query).encode() + b"\n")
    except OSError as failure:
        return {
            "kind": "failed",
            "error": f"a query cannot start: {failure.strerror}; hint: see the limits of processes",
        }
    finally:
        _one_at_a_time.release()


def _communicate(process: subprocess.Popen[bytes], query: bytes) -> dict[str, Any]:
    # The process gives up by itself at its deadline; this is for one that hangs.
    killer = threading.Timer(DEADLINE_SECONDS + 1, process.kill)
    killer.daemon = True
    killer.start()
    try:
        found = _ask(process, query)
    except (OSError, ValueError):
        process.kill()
        return {"kind": "deadline", "error": "the query was ended; hint: ask for a shorter span"}
    else:
        return found
    finally:
        killer.cancel()


def _ask(process: subprocess.Popen[bytes], query: bytes) -> dict[str, Any]:
    if process.stdin is None or process.stdout is None:
        raise OSError
    # It stays open: the process ends when it closes, so also when this worker is killed.
    process.stdin.write(query)
    process.stdin.flush()
    found: dict[str, Any] = json.loads(process.stdout.read())
    return found


def _answered(found: dict[str, Any]) -> Response:
    if found["kind"] == "answer":
        return json_object(200, found["answer"])
    if found["kind"] == "busy":
        return _busy()
    text = str(found["error"])[:_LONGEST_ERROR]
    if found["kind"] == "span":
        problem, _, hint = text.partition("; hint: ")
        return json_error(400, problem, hint or "ask for another span")
    return unusable(text)


def _busy() -> Response:
    return unusable("another query runs; hint: ask again when it has ended")
