"""The table of fields: the type and the meaning of each name in Verve's output.

A name has one meaning and one type in log events, in HTTP answers, in the JSON that commands print,
in Kafka messages, in the ledger and the other files of the state directory, and as a label of a
metric. `docs/reference/fields.md` is generated from this table.
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
    Kind.NAMES: "an array of texts; in a text line, separated by commas",
    Kind.OBJECT: "an object",
    Kind.OBJECTS: "an array of objects",
}
"""The form of a value of each kind."""


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

_SCHEMAS: Mapping[Kind, Mapping[str, Any]] = {
    Kind.TIME: {"type": "string", "format": "date-time", "pattern": f"^{_TIME.pattern}$"},
    Kind.SINCE_EPOCH: {"type": "number"},
    Kind.COUNT: {"type": "integer", "minimum": 0},
    Kind.NUMBER: {"type": "integer"},
    Kind.SECONDS: {"type": "number"},
    Kind.BYTES: {"type": "integer", "minimum": 0},
    Kind.FLAG: {"type": "boolean"},
    Kind.TEXT: {"type": "string"},
    Kind.NAMES: {"type": "array", "items": {"type": "string"}},
    Kind.OBJECT: {"type": "object"},
    Kind.OBJECTS: {"type": "array", "items": {"type": "object"}},
}


@dataclass(frozen=True, slots=True)
class Field:
    """One row. `null`: the value may be absent: `null` in JSON, `-` in a text line."""

    kind: Kind
    meaning: str
    null: bool = False

    def rendered(self, value: object) -> Any:  # noqa: ANN401 - as JSON has it
        """The value as JSON represents it."""
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
        """Whether a JSON value is of this type."""
        return self.null if value is None else _FITS[self.kind](value)

    def json_schema(self) -> dict[str, Any]:
        """The JSON Schema of a value in JSON."""
        schema = _SCHEMAS[self.kind]
        kind = [schema["type"], "null"] if self.null else schema["type"]
        return {**schema, "type": kind, "description": self.meaning}


_K = Kind

FIELDS: Mapping[str, Field] = {
    # Log lines.
    "time": Field(_K.TIME, "Time of the event, with milliseconds."),
    "level": Field(_K.TEXT, "Severity of the event."),
    "event": Field(_K.TEXT, "Name of the event."),
    "message": Field(_K.TEXT, "Description of the event."),
    "exception": Field(_K.TEXT, "Traceback of an exception."),
    "process": Field(_K.NUMBER, "Id of the process that wrote the line."),
    "worker": Field(
        _K.NUMBER,
        "Number of a worker, from 1: the one that wrote the line, or that it is about. "
        "As a label of a metric: the id of its process.",
    ),
    # Windows.
    "window_start": Field(_K.TIME, "Start of the window."),
    "window_seconds": Field(_K.SECONDS, "Length of the window."),
    "unique": Field(
        _K.COUNT,
        "Distinct ids of the window, in a cluster those of all hosts; so far, if it is open.",
        null=True,
    ),
    "unique_request_count": Field(_K.COUNT, "The same, in Kafka messages and callbacks."),
    "host_unique": Field(_K.COUNT, "Distinct ids of the window on this host.", null=True),
    "requests": Field(_K.COUNT, "Ids accepted in the window, including duplicates."),
    "duplicates": Field(_K.COUNT, "Accepted ids that the window had already counted."),
    "late": Field(_K.COUNT, "Ids that arrived while the window was frozen; counted in the next."),
    "rejected": Field(_K.COUNT, "Requests answered `failed` in the window."),
    "gap": Field(_K.FLAG, "Whether nobody could count the window, or a clock step skipped it."),
    "degraded": Field(_K.FLAG, "Whether the count may lack ids, for now."),
    "revision": Field(_K.COUNT, "Number of the record; a higher revision replaces a lower one."),
    "complete": Field(_K.FLAG, "Whether the count includes all hosts of the window."),
    "late_hosts": Field(_K.NAMES, "Ids of the hosts that the record does not include."),
    "count": Field(_K.COUNT, "Distinct ids of the window in Redis."),
    "before": Field(_K.COUNT, "Count of the previous revision."),
    "cluster_age_seconds": Field(
        _K.SECONDS, "Maximum age of the running count of all hosts.", null=True
    ),
    "source": Field(_K.TEXT, "Source of the count: `VERVE_SOURCE`, else the cluster or the host."),
    "windows": Field(_K.OBJECTS, "Windows, one object per window."),
    "replaces": Field(_K.FLAG, "Whether a change of the ledger replaced figures of the window."),
    "undelivered": Field(_K.NAMES, "Sinks that have not taken the window."),
    "span_start": Field(_K.TIME, "Start of a span."),
    "span_end": Field(_K.TIME, "End of a span, which is not part of it."),
    "distinct": Field(_K.COUNT, "Distinct ids of a span."),
    "by": Field(_K.TEXT, "What a span is divided into: `minute`, `hour` or `day`."),
    "buckets": Field(_K.OBJECTS, "Parts of a span, one object per part."),
    "archive_hosts": Field(_K.NAMES, "Hosts of which the archive has windows of the span."),
    "hosts_known": Field(_K.FLAG, "Whether a cluster says that there are no other hosts."),
    "missing": Field(_K.OBJECTS, "Windows that are missing, one object per run of them."),
    "missing_windows": Field(_K.COUNT, "Number of windows that are missing."),
    "host_name": Field(_K.TEXT, "Host of the windows; `null`: all hosts.", null=True),
    "rows": Field(_K.COUNT, "Ids that were read, repeats included."),
    "files": Field(_K.COUNT, "Files that were read."),
    "incomplete": Field(_K.TEXT, "Reason why windows may be missing from the answer."),
    "first": Field(_K.TIME, "Start of the first of several windows."),
    # Batches.
    "accepted": Field(_K.COUNT, "Accepted ids of the batch, including duplicates."),
    "new": Field(_K.COUNT, "Ids of the batch that were new in their window."),
    # Ids that wait for Redis.
    "ids": Field(_K.COUNT, "Number of ids of the window."),
    "sent": Field(_K.COUNT, "Number of these ids that Redis has."),
    "used": Field(_K.BYTES, "Disk space that spills use."),
    "most": Field(_K.BYTES, "Maximum disk space of spills."),
    "disk_full": Field(_K.FLAG, "Whether the disk was full."),
    # Errors.
    "error": Field(_K.TEXT, "Description of the error.", null=True),
    "hint": Field(_K.TEXT, "What to do about the error."),
    "last_error": Field(_K.TEXT, "Description of the last error.", null=True),
    "trouble": Field(_K.TEXT, "Kind of the last error: one word of a closed list.", null=True),
    "reason": Field(_K.TEXT, "Reason for the event."),
    "archive": Field(
        _K.TEXT,
        "Where the archive is, as the setting `VERVE_ARCHIVE` says. In a window: `lost` or "
        "`dropped`, if the archive lacks its ids.",
    ),
    "attempts": Field(_K.COUNT, "Failed attempts in a row."),
    "failed_attempts": Field(_K.COUNT, "Failed attempts in a row, in readiness."),
    "since": Field(_K.SINCE_EPOCH, "Time of the first of these failed attempts.", null=True),
    "warning": Field(_K.TEXT, "Text of a warning."),
    "warnings": Field(_K.NAMES, "Texts of warnings."),
    "what": Field(_K.TEXT, "What Redis lost."),
    "how": Field(_K.TEXT, "How the host left the cluster."),
    "number": Field(_K.COUNT, "Number of things that the event or the row is about."),
    "place": Field(_K.TEXT, "Place of an entry that cannot be read."),
    "entry": Field(_K.TEXT, "Name of that entry."),
    "content": Field(_K.TEXT, "Content of that entry, shortened."),
    "path": Field(_K.TEXT, "Path of the file that the event is about."),
    "kept": Field(_K.TEXT, "New path of a file that is no longer used."),
    "seconds": Field(_K.SECONDS, "Duration, or the duration so far."),
    "lines": Field(_K.COUNT, "Number of lost lines."),
    "output": Field(_K.TEXT, "`stdout` or `stderr`."),
    # The service and its processes.
    "version": Field(_K.TEXT, "Version of Verve.", null=True),
    "lane": Field(_K.TEXT, "Lane of the native listener: `accept` or `hyper`."),
    "address": Field(_K.TEXT, "Address of the service: `http://...` or `unix:<file>`."),
    "host": Field(_K.TEXT, "Listening address; none with `--uds`.", null=True),
    "port": Field(_K.NUMBER, "Listening port; none with `--uds`.", null=True),
    "workers": Field(_K.COUNT, "Number of worker processes."),
    "interface": Field(_K.TEXT, "Granian's `--interface`."),
    "http": Field(_K.TEXT, "Granian's `--http`."),
    "loop": Field(_K.TEXT, "Granian's `--loop`."),
    "backlog": Field(_K.COUNT, "Granian's `--backlog`."),
    "backpressure": Field(_K.COUNT, "Granian's `--backpressure`, per worker."),
    "kill_timeout": Field(_K.SECONDS, "Granian's `--workers-kill-timeout`."),
    "window": Field(_K.SECONDS, "The setting `VERVE_WINDOW`."),
    "max_ids_per_window": Field(_K.COUNT, "The setting `VERVE_MAX_IDS_PER_WINDOW`."),
    "segment": Field(_K.TEXT, "Path of the segment."),
    "state_dir": Field(_K.TEXT, "Path of the state directory."),
    "sinks": Field(_K.NAMES, "Sinks that counts are published to."),
    "admin": Field(_K.TEXT, "The setting `VERVE_ADMIN`."),
    "rule": Field(_K.TEXT, "Access rule of metrics and history."),
    "admin_address": Field(_K.TEXT, "Address of metrics and history, if separate.", null=True),
    "page": Field(_K.TEXT, "Address of the live page."),
    "listener": Field(_K.TEXT, "Server of the public address: `granian` or `native`."),
    "open_files": Field(_K.COUNT, "Maximum number of open files per process."),
    "exit_status": Field(_K.TEXT, "How a process ended: `status <n>` or `signal <n>`."),
    "term": Field(_K.NUMBER, "Number of the leader's term."),
    "pid": Field(_K.NUMBER, "Id of a process other than the one that wrote the line."),
    "now": Field(_K.SINCE_EPOCH, "Time by the clock of the segment."),
    "leader": Field(_K.OBJECT, "Process that leads, and its term.", null=True),
    "ready": Field(_K.FLAG, "Whether the service should receive requests."),
    "service": Field(_K.OBJECT, "Identity of the service that answers."),
    "hostname": Field(_K.TEXT, "Name of the service's host."),
    "joins_cluster": Field(_K.FLAG, "Whether the service counts with other hosts."),
    "parts": Field(_K.OBJECT, "Parts of readiness, by name."),
    "state": Field(_K.TEXT, "State of a part of readiness, of an arena, or of a host."),
    "detail": Field(_K.TEXT, "Description of the state."),
    # Sinks and the ledger.
    "ledger": Field(_K.TEXT, "Id of the ledger, in the ids of events."),
    "sink": Field(_K.TEXT, "Name of a sink."),
    "lag_seconds": Field(_K.SECONDS, "Length of the backlog in seconds of windows.", null=True),
    "windows_waiting": Field(_K.COUNT, "Windows that a sink has not taken.", null=True),
    "taken_at": Field(_K.SINCE_EPOCH, "Time at which a sink took the window.", null=True),
    "topic": Field(_K.TEXT, "Kafka topic."),
    "brokers": Field(_K.NAMES, "Kafka brokers."),
    "relation": Field(_K.TEXT, "Whether Kafka is used in addition to the log or instead of it."),
    # Clusters.
    "cluster": Field(_K.TEXT, "Name of the cluster."),
    "policy": Field(_K.TEXT, "Redis's setting `maxmemory-policy`."),
    "host_id": Field(_K.TEXT, "Id of a host of the cluster."),
    "name": Field(_K.TEXT, "Name of a host of the cluster.", null=True),
    "protocol": Field(_K.TEXT, "Version of a host's protocol."),
    "heartbeat_age": Field(_K.SECONDS, "Age of a host's last heartbeat."),
    "last_heartbeat": Field(_K.TIME, "Last heartbeat of a host that sends none.", null=True),
    "skew": Field(_K.SECONDS, "Lead of a host's wall clock over Redis's time."),
    "skew_seconds": Field(_K.SECONDS, "Lead of this host's wall clock.", null=True),
    "alive": Field(_K.FLAG, "Whether a host is alive."),
    "unsent_windows": Field(_K.COUNT, "Windows that have ended and of which Redis lacks ids."),
    "spill_files": Field(_K.COUNT, "Windows on disk that wait for Redis."),
    "spill_bytes": Field(_K.BYTES, "Disk space that these windows use."),
    "hosts": Field(_K.OBJECTS, "Hosts of the cluster, one object per host."),
    "live_hosts": Field(_K.COUNT, "Live hosts, as of the last heartbeat."),
    # Sizes, of `verve size`.
    "ids_per_window": Field(_K.COUNT, "Distinct ids per window that are planned for."),
    "segment_bytes": Field(_K.BYTES, "Length of the segment; little of it has storage."),
    "memory_bytes": Field(_K.BYTES, "Memory of a host in use: segment and processes."),
    "memory_limit_bytes": Field(_K.BYTES, "Memory that a host should have."),
    "shm_bytes": Field(_K.BYTES, "Shared memory of it, for the segment."),
    "ledger_bytes": Field(_K.BYTES, "Largest size of the ledger."),
    "redis_bytes": Field(_K.BYTES, "Memory of Redis in all.", null=True),
    "spill_window_bytes": Field(_K.BYTES, "Disk space of the spill of a window.", null=True),
    "spill_windows": Field(_K.COUNT, "Windows that `VERVE_SPILL_MAX` holds.", null=True),
    "settings": Field(_K.NAMES, "Recommended settings, one `NAME=value` each."),
    # Callbacks.
    "id": Field(_K.TEXT, "Id of a callback: the header `webhook-id` of each attempt."),
    "endpoint": Field(_K.TEXT, "URL of a callback, without query and fragment."),
    "status": Field(_K.NUMBER, "HTTP status of the answer.", null=True),
    "attempt": Field(_K.COUNT, "Number of the attempt at a callback, from 1."),
    "outcome": Field(_K.TEXT, "Outcome of a callback, or of an attempt."),
    "cause": Field(_K.TEXT, "Cause of a failed attempt: one word of a closed list."),
    "outcomes": Field(_K.TEXT, "Number of attempts per outcome."),
    "failed": Field(_K.FLAG, "Whether the callback failed for good."),
    "logged": Field(_K.FLAG, "Whether the log has a line for the attempt."),
    "enabled": Field(_K.FLAG, "Whether this service takes callbacks."),
    "pending": Field(_K.COUNT, "Callbacks that wait or that are being sent."),
    "ended": Field(_K.OBJECT, "Number of finished callbacks per outcome."),
    "failures": Field(_K.OBJECT, "Number of failed attempts per cause."),
    "retried": Field(_K.COUNT, "Failed attempts that another attempt follows."),
    "taken_over": Field(_K.COUNT, "Callbacks taken over from processes that are gone."),
}
"""Every field by name."""

GROUPS: Mapping[str, Field] = {
    "window": Field(_K.OBJECT, "Fields of `/api/verve/current`."),
    "rejected": Field(_K.OBJECT, "Rejected requests per reason, since the segment was made."),
    "workers": Field(_K.OBJECTS, "Processes that share the segment, each with its `pid`."),
    "sinks": Field(_K.OBJECTS, "Sinks, as readiness lists them."),
    "callbacks": Field(_K.OBJECT, "Figures of callbacks, since the segment was made."),
    "cluster": Field(_K.OBJECT, "Redis, as readiness lists it, and the hosts.", null=True),
}
"""The names that stand for something else at the top of the event `figures` of the stream."""


def rendered(values: Mapping[str, object]) -> dict[str, Any]:
    """The values as JSON represents them; values of names outside the table stay as they are."""
    return {
        name: FIELDS[name].rendered(value) if name in FIELDS else value
        for name, value in values.items()
    }


def misfits(values: Mapping[str, object]) -> list[str]:
    """What is wrong with the fields of a JSON object, including objects inside it."""
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
    lines += ["", "| group in the stream's event `figures` | type | meaning |", "|---|---|---|"]
    for name, group in GROUPS.items():
        kind = f"{group.kind} or none" if group.null else str(group.kind)
        lines.append(f"| `{name}` | {kind} | {group.meaning} |")
    lines += ["", "| type | form |", "|---|---|"]
    lines += [f"| {kind} | {form} |" for kind, form in FORMS.items()]
    return "\n".join(lines)
