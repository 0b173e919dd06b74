"""The table of fields: what each name means, and its type, wherever Verve gives it out.

The same name stands for the same in the events of the log, in HTTP answers, in what commands print
as JSON, in the message of Kafka, in the ledger and the other files of the state directory, and as a
label of a metric. `docs/fields.md` is made from it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from verve.timestamps import rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{3})?Z")


class Kind(StrEnum):
    """The type of a field."""

    TIME = "time"
    SINCE_EPOCH = "seconds since the epoch"
    COUNT = "count"
    NUMBER = "number"
    SECONDS = "seconds"
    BYTES = "bytes"
    FLAG = "flag"
    TEXT = "text"
    NAMES = "names"
    OBJECT = "object"
    OBJECTS = "objects"


FORMS = {
    Kind.TIME: "text in JSON and log lines, RFC 3339 in UTC; in the ledger an integer, seconds "
    "since the epoch",
    Kind.SINCE_EPOCH: "a number with a fraction",
    Kind.COUNT: "an integer, 0 or more",
    Kind.NUMBER: "an integer",
    Kind.SECONDS: "a number",
    Kind.BYTES: "an integer, 0 or more",
    Kind.FLAG: "`true` or `false`; in the ledger and in metrics 1 or 0",
    Kind.TEXT: "text",
    Kind.NAMES: "an array of texts; in a text line separated by commas",
    Kind.OBJECT: "an object",
    Kind.OBJECTS: "an array of objects",
}
"""What a value of each kind looks like."""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_list_of(kind: type) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and all(isinstance(one, kind) for one in value)


_FITS: Mapping[Kind, Callable[[object], bool]] = {
    Kind.TIME: lambda value: isinstance(value, str) and _TIME.fullmatch(value) is not None,
    Kind.SINCE_EPOCH: _is_number,
    Kind.COUNT: _is_count,
    Kind.NUMBER: _is_whole,
    Kind.SECONDS: _is_number,
    Kind.BYTES: _is_count,
    Kind.FLAG: lambda value: isinstance(value, bool),
    Kind.TEXT: lambda value: isinstance(value, str),
    Kind.NAMES: _is_list_of(str),
    Kind.OBJECT: lambda value: isinstance(value, dict),
    Kind.OBJECTS: _is_list_of(dict),
}


@dataclass(frozen=True, slots=True)
class Field:
    """One row. `null`: there may be none, which JSON says as `null` and a text line as `-`."""

    kind: Kind
    meaning: str
    null: bool = False

    def rendered(self, value: object) -> Any:  # noqa: ANN401 - as JSON has it
        """A value as JSON has it."""
        match self.kind:
            case Kind.TIME if isinstance(value, int):
                try:
                    return rfc3339(value)
                except (OSError, OverflowError, ValueError):  # of damaged memory, for example
                    return str(value)
            case Kind.TEXT if value is not None:
                return str(value)
            case Kind.NAMES if isinstance(value, tuple | frozenset | set):
                return sorted(value) if isinstance(value, frozenset | set) else list(value)
            case _:
                return value

    def fits(self, value: object) -> bool:
        """Whether a value, as JSON has it, is of this type."""
        return self.null if value is None else _FITS[self.kind](value)


_K = Kind

FIELDS: Mapping[str, Field] = {
    # Of each log line.
    "time": Field(_K.TIME, "When it was written or happened, with milliseconds."),
    "level": Field(_K.TEXT, "How important the event is."),
    "event": Field(_K.TEXT, "Name of the event."),
    "message": Field(_K.TEXT, "The event in words."),
    "exception": Field(_K.TEXT, "Traceback of what was raised."),
    "process": Field(_K.NUMBER, "Process that wrote the line."),
    "worker": Field(
        _K.NUMBER, "Number of a worker, from 1: of the one that writes, or that its parent names."
    ),
    # Of a window.
    "window_start": Field(_K.TIME, "Start of the window."),
    "window_seconds": Field(_K.SECONDS, "Length of the window."),
    "unique": Field(
        _K.COUNT,
        "Distinct ids of the window, in a cluster those of all hosts; so far, while it is open.",
        null=True,
    ),
    "unique_request_count": Field(_K.COUNT, "The same, in messages and callbacks."),
    "host_unique": Field(_K.COUNT, "Distinct ids of the window on this host.", null=True),
    "requests": Field(_K.COUNT, "Ids accepted in the window, duplicates included."),
    "duplicates": Field(_K.COUNT, "Ids accepted that were in the window already."),
    "late": Field(_K.COUNT, "Ids that came while the window was closing, counted in the next."),
    "rejected": Field(_K.COUNT, "Requests answered `failed` in the window."),
    "gap": Field(_K.FLAG, "Whether a step of the clock skipped the window."),
    "degraded": Field(_K.FLAG, "Whether the count is known to be incomplete for now."),
    "revision": Field(_K.COUNT, "Which publication of the window; a higher one replaces a lower."),
    "complete": Field(_K.FLAG, "Whether all hosts of the window are in its count."),
    "late_hosts": Field(_K.NAMES, "Ids of the hosts that a window was published without."),
    "count": Field(_K.COUNT, "Distinct ids of the window that Redis holds."),
    "before": Field(_K.COUNT, "The count of the revision before."),
    "cluster_age_seconds": Field(
        _K.SECONDS, "How old the running count of all hosts is at the most.", null=True
    ),
    "source": Field(_K.TEXT, "Who counted: `VERVE_SOURCE`, else the cluster, else the host."),
    "windows": Field(_K.OBJECTS, "Windows, one object each."),
    "undelivered": Field(_K.NAMES, "Sinks that have not taken the window."),
    "incomplete": Field(_K.TEXT, "Why windows may be missing from the answer."),
    "first": Field(_K.TIME, "Start of the first window of several."),
    # Of a batch.
    "accepted": Field(_K.COUNT, "Ids of the batch that were counted, duplicates included."),
    "new": Field(_K.COUNT, "Ids of the batch that were new in their window."),
    # Of ids that wait for Redis.
    "ids": Field(_K.COUNT, "Ids of the window that the event is about."),
    "sent": Field(_K.COUNT, "How many of them Redis has."),
    "used": Field(_K.BYTES, "Disk that spills take."),
    "most": Field(_K.BYTES, "Disk that spills may take."),
    "disk_full": Field(_K.FLAG, "Whether the disk had no room."),
    # Of what went wrong.
    "error": Field(_K.TEXT, "What went wrong.", null=True),
    "hint": Field(_K.TEXT, "What to do about it."),
    "last_error": Field(_K.TEXT, "What went wrong last.", null=True),
    "trouble": Field(_K.TEXT, "What went wrong last, in one word of a closed list.", null=True),
    "reason": Field(_K.TEXT, "Why."),
    "attempts": Field(_K.COUNT, "Attempts that failed in a row."),
    "failed_attempts": Field(_K.COUNT, "The same, in readiness."),
    "since": Field(_K.SINCE_EPOCH, "When the first of them failed.", null=True),
    "warning": Field(_K.TEXT, "What is odd."),
    "warnings": Field(_K.NAMES, "What is odd, in words."),
    "what": Field(_K.TEXT, "What Redis lost."),
    "how": Field(_K.TEXT, "How it came about."),
    "number": Field(_K.COUNT, "How many things the event or the row is about."),
    "place": Field(_K.TEXT, "Where an entry stands that cannot be read."),
    "entry": Field(_K.TEXT, "Which entry it is."),
    "content": Field(_K.TEXT, "What stands there, as far as it is shown."),
    "path": Field(_K.TEXT, "File that the event is about."),
    "kept": Field(_K.TEXT, "Where a file was moved that is not used any more."),
    "seconds": Field(_K.SECONDS, "How long it took, or has taken so far."),
    "lines": Field(_K.COUNT, "Lines that were lost."),
    "output": Field(_K.TEXT, "`stdout` or `stderr`."),
    # Of the service and its processes.
    "version": Field(_K.TEXT, "Version of Verve.", null=True),
    "address": Field(_K.TEXT, "Where the service listens: `http://...` or `unix:<file>`."),
    "host": Field(_K.TEXT, "Address that it listens on; none with `--uds`.", null=True),
    "port": Field(_K.NUMBER, "Port that it listens on; none with `--uds`.", null=True),
    "workers": Field(_K.COUNT, "Worker processes."),
    "interface": Field(_K.TEXT, "Granian's `--interface`."),
    "http": Field(_K.TEXT, "Granian's `--http`."),
    "loop": Field(_K.TEXT, "Granian's `--loop`."),
    "backlog": Field(_K.COUNT, "Granian's `--backlog`."),
    "backpressure": Field(_K.COUNT, "Granian's `--backpressure`, of each worker."),
    "kill_timeout": Field(_K.SECONDS, "Granian's `--workers-kill-timeout`."),
    "window": Field(_K.SECONDS, "The setting `VERVE_WINDOW`."),
    "max_ids_per_window": Field(_K.COUNT, "The setting `VERVE_MAX_IDS_PER_WINDOW`."),
    "segment": Field(_K.TEXT, "Path of the segment."),
    "state_dir": Field(_K.TEXT, "Path of the state directory."),
    "sinks": Field(_K.NAMES, "Where counts go."),
    "admin": Field(_K.TEXT, "The setting `VERVE_ADMIN`."),
    "rule": Field(_K.TEXT, "Who may see metrics and history."),
    "open_files": Field(_K.COUNT, "Files that each process may open."),
    "exit_status": Field(_K.TEXT, "How a process ended: `status <n>` or `signal <n>`."),
    "term": Field(_K.NUMBER, "Number of the leader's term."),
    "pid": Field(_K.NUMBER, "Another process than the one that writes."),
    "ready": Field(_K.FLAG, "Whether the service should get requests."),
    "service": Field(_K.OBJECT, "Which service answers."),
    "hostname": Field(_K.TEXT, "Name of the host that it runs on."),
    "joins_cluster": Field(_K.FLAG, "Whether it counts with other hosts."),
    "parts": Field(_K.OBJECT, "What readiness looks at, by name."),
    "state": Field(_K.TEXT, "How a part of readiness, or an arena, is."),
    "detail": Field(_K.TEXT, "The same in words."),
    # Of sinks and the ledger.
    "sink": Field(_K.TEXT, "Name of a sink."),
    "lag_seconds": Field(_K.SECONDS, "Seconds of windows that wait.", null=True),
    "windows_waiting": Field(_K.COUNT, "Windows that a sink has not taken.", null=True),
    "taken_at": Field(_K.SINCE_EPOCH, "When a sink took the window.", null=True),
    "topic": Field(_K.TEXT, "Topic of Kafka."),
    "brokers": Field(_K.NAMES, "Brokers of Kafka."),
    "relation": Field(_K.TEXT, "Whether Kafka is beside the log or in its place."),
    # Of a cluster.
    "cluster": Field(_K.TEXT, "Name of the cluster."),
    "policy": Field(_K.TEXT, "Setting `maxmemory-policy` of Redis."),
    "host_id": Field(_K.TEXT, "Id of a host of the cluster."),
    "name": Field(_K.TEXT, "Name of a host of the cluster.", null=True),
    "protocol": Field(_K.TEXT, "Protocol that a host speaks."),
    "heartbeat_age": Field(_K.SECONDS, "How long ago a host was heard."),
    "skew": Field(_K.SECONDS, "How far a host's wall clock is ahead of Redis's time."),
    "skew_seconds": Field(_K.SECONDS, "The same, of this host.", null=True),
    "alive": Field(_K.FLAG, "Whether a host counts as alive."),
    "unsent_windows": Field(_K.COUNT, "Windows that ended and of which Redis lacks ids."),
    "spill_files": Field(_K.COUNT, "Windows on disk that wait for Redis."),
    "spill_bytes": Field(_K.BYTES, "Disk that they take."),
    "hosts": Field(_K.OBJECTS, "Hosts of the cluster, one object each."),
    "live_hosts": Field(_K.COUNT, "Hosts that live, as of the last heartbeat."),
    # Of callbacks.
    "id": Field(_K.TEXT, "Id of a callback, the header `webhook-id` of each of its attempts."),
    "endpoint": Field(_K.TEXT, "URL of a callback, as far as it is shown."),
    "status": Field(_K.NUMBER, "HTTP status that was answered.", null=True),
    "attempt": Field(_K.COUNT, "Which attempt at a callback, from 1."),
    "outcome": Field(_K.TEXT, "What became of a callback."),
    "cause": Field(_K.TEXT, "Why an attempt at a callback failed, in one word of a closed list."),
    "outcomes": Field(_K.TEXT, "How many attempts had which outcome."),
    "failed": Field(_K.FLAG, "Whether a callback was given up."),
    "logged": Field(_K.FLAG, "Whether the attempt has a line of its own in the log."),
}
"""Every field by its name."""


def rendered(values: Mapping[str, object]) -> dict[str, Any]:
    """Values by their field, as JSON has them; a name that is not in the table stays as it is."""
    return {
        name: FIELDS[name].rendered(value) if name in FIELDS else value
        for name, value in values.items()
    }


def misfits(values: Mapping[str, object]) -> list[str]:
    """What is wrong with the fields of an object, as JSON has it; objects in it too."""
    found: list[str] = []
    for name, value in values.items():
        field = FIELDS.get(name)
        if field is None:
            found.append(f"`{name}` is not in the table")
        elif not field.fits(value):
            found.append(f"`{name}` is no {field.kind}: {value!r}")
        elif field.kind is Kind.OBJECTS and isinstance(value, list):
            found += [wrong for one in value for wrong in misfits(one)]
    return found


def markdown() -> str:
    """The table for the docs."""
    lines = ["| field | type | meaning |", "|---|---|---|"]
    for name, field in FIELDS.items():
        kind = f"{field.kind} or none" if field.null else str(field.kind)
        lines.append(f"| `{name}` | {kind} | {field.meaning} |")
    lines += ["", "| type | form |", "|---|---|"]
    lines += [f"| {kind} | {form} |" for kind, form in FORMS.items()]
    return "\n".join(lines)
