"""The table of events: each with its name, level, message and fields, once."""

from __future__ import annotations

import logging

from .event_log import EVENTS, Event

_I, _W, _E = logging.INFO, logging.WARNING, logging.ERROR

WINDOW_PUBLISHED = Event(
    "window.published",
    _I,
    "Unique requests in the last minute: {unique}",
    (
        "window_start",
        "window_seconds",
        "unique",
        "requests",
        "duplicates",
        "late",
        "rejected",
        "gap",
        "degraded",
        "revision",
    ),
)
SERVICE_STARTING = Event(
    "service.starting",
    _I,
    "Verve {version} serves {address} with {workers} workers",
    (
        "version",
        "address",
        "host",
        "port",
        "workers",
        "interface",
        "http",
        "loop",
        "backlog",
        "backpressure",
        "kill_timeout",
        "window",
        "max_ids_per_window",
        "segment",
        "state_dir",
        "sinks",
        "admin",
        "open_files",
    ),
)
SERVICE_STOPPED = Event("service.stopped", _I, "Verve stopped", ())
WORKER_REFUSED = Event("worker.refused", _E, "Verve cannot start: {error}", ("error",))
ACCESS_RULE = Event("access.rule", _I, "Metrics and history are {rule}", ("rule",))
FAST_PATH_ON = Event("fast_path.on", _I, "Accepts are answered without the event loop", ())
FAST_PATH_OFF = Event(
    "fast_path.off", _I, "Accepts take the event loop, as set: {reason}", ("reason",)
)
FAST_PATH_UNAVAILABLE = Event(
    "fast_path.unavailable", _W, "Accepts take the event loop: {reason}", ("reason",)
)
FAST_PATH_FAILED = Event(
    "fast_path.failed",
    _E,
    "A request could not be answered on the fast path, an accept is counted all the same: {error}",
    ("error",),
)
SETTING_ODD = Event("setting.odd", _W, "{warning}", ("warning",))
WORKER_FAILED = Event(
    "worker.failed",
    _E,
    "Workers end while they start, giving up: {exit_status}; hint: the lines before say why; a "
    "limit of threads (`ulimit -u`), memory or files may be the cause",
    ("worker", "exit_status"),
)
WORKER_RESPAWNED = Event(
    "worker.respawned",
    _W,
    "Worker {worker} ended, starting it again: {exit_status}",
    ("worker", "exit_status"),
)
WORKER_ORPHANED = Event(
    "worker.orphaned", _W, "The parent process is gone, this worker drains and exits", ()
)
ENTRY_SKIPPED = Event(
    "entry.skipped",
    _W,
    "An entry of {place} cannot be read, it is skipped: {entry}: {content}",
    ("place", "entry", "content"),
)
SEGMENT_RETIRED = Event(
    "segment.retired",
    _W,
    "Segment of another window length or cluster: {number} windows went to the ledger, made a new "
    "one",
    ("path", "window_seconds", "cluster", "number"),
)
SEGMENT_SET_ASIDE = Event(
    "segment.set_aside",
    _W,
    "Segment of another format, renamed it and made a new one: {kept}",
    ("path", "kept"),
)
SEGMENT_REMOVED = Event(
    "segment.removed",
    _E,
    "The file of the segment was removed or replaced; processes count on in it, and what they have "
    "not published is lost when the last one ends: {path}",
    ("path",),
)
SEGMENT_LOST = Event(
    "segment.lost",
    _W,
    "The segment that this state directory had is gone, with what it had not published; made a new "
    "one: {path}",
    ("path",),
)
LEADER_STARTED = Event("leader.started", _I, "This process leads", ("term",))
LEADER_DEPOSED = Event("leader.deposed", _W, "This process no longer leads", ("term",))
LEADER_STUMBLED = Event("leader.stumbled", _W, "Upkeep of the segment failed: {error}", ("error",))
HOLDER_KILLED = Event(
    "ledger.holder_killed",
    _W,
    "Killed a former leader that held the ledger while stopped: {pid}",
    ("pid",),
)
LEDGER_DELAYED = Event(
    "ledger.delayed", _W, "The ledger is behind, will try again: {error}", ("error", "attempts")
)
LEDGER_RECOVERED = Event("ledger.recovered", _I, "The ledger is up to date again", ("attempts",))
LEDGER_SET_ASIDE = Event(
    "ledger.set_aside",
    _W,
    "The ledger was damaged, renamed it and made a new one: {kept}",
    ("kept",),
)
LEDGER_REMOVED = Event(
    "ledger.removed",
    _E,
    "The ledger was removed or replaced, made it again from the windows in the segment: {path}",
    ("path",),
)
LEDGER_MISSED = Event(
    "ledger.missed",
    _E,
    "Windows left the sealed ring before the ledger took them, from {first} on",
    ("first",),
)
LEDGER_DROPPED = Event(
    "ledger.dropped",
    _E,
    "Dropped {number} windows, too old, that sink {sink} had not taken, from {first} on",
    ("sink", "number", "first"),
)
KAFKA_CHOSEN = Event(
    "kafka.chosen",
    _I,
    "Counts go to Kafka, topic {topic}, {relation} the log",
    ("topic", "relation", "brokers"),
)
SINK_DELAYED = Event(
    "sink.delayed",
    _W,
    "Sink {sink} is behind, will try again: {error}",
    ("sink", "error", "attempts"),
)
SINK_RECOVERED = Event(
    "sink.recovered", _I, "Sink {sink} takes windows again", ("sink", "attempts")
)
REDIS_AWAY = Event(
    "redis.away",
    _W,
    "Redis does not answer, this host counts on: {error}",
    ("error", "attempts"),
)
REDIS_EVICTS = Event(
    "redis.evicts",
    _W,
    "Redis drops keys when it is full (`{policy}`): ids are sent again then; "
    "set `maxmemory-policy noeviction`",
    ("policy",),
)
CLUSTER_TIME_KEPT = Event(
    "cluster.time_kept", _W, "This process goes by the time of its segment: {error}", ("error",)
)
REDIS_BACK = Event("redis.back", _I, "Redis answers again", ("attempts",))
SHIPPER_STUMBLED = Event(
    "shipper.stumbled", _W, "Sending ids to Redis failed, it begins anew: {error}", ("error",)
)
CLUSTER_REFUSED = Event(
    "cluster.refused", _E, "This host cannot count with the others: {error}", ("error",)
)
CLUSTER_DISTURBED = Event(
    "cluster.disturbed",
    _W,
    "Redis lost something, hosts and windows are checked: {what}",
    ("what",),
)
HOST_JOINED = Event(
    "host.joined", _I, "Host {host_id} counts along: {name}", ("host_id", "name", "version")
)
HOST_LEFT = Event(
    "host.left", _W, "Host {host_id} no longer counts along, it {how}", ("host_id", "how")
)
WINDOW_DEGRADED = Event(
    "window.degraded",
    _W,
    "A window was published without hosts that are late: {late_hosts}",
    ("window_start", "revision", "count", "late_hosts"),
)
WINDOW_REVISED = Event(
    "window.revised",
    _I,
    "Revision {revision} of a window, {before} before: {count}",
    ("window_start", "revision", "before", "count"),
)
WINDOW_LOWER = Event(
    "window.lower",
    _W,
    "Redis holds fewer ids of a window than were published, the record stays: {count}",
    ("window_start", "count"),
)
WINDOW_RESENT = Event(
    "window.resent",
    _W,
    "All {ids} ids of a window are sent to Redis again: {reason}",
    ("window_start", "ids", "reason"),
)
WINDOW_SENDING = Event(
    "window.sending",
    _I,
    "Ids of a window are on their way to Redis, {sent} of {ids}",
    ("window_start", "sent", "ids", "seconds"),
)
WINDOW_IDS_GONE = Event(
    "window.ids_gone",
    _E,
    "Ids of a window can no longer be read, the cluster may have counted too few: {ids}",
    ("window_start", "ids"),
)
WINDOW_EXPIRED = Event(
    "window.expired",
    _E,
    "A window was not published as complete within `VERVE_REDIS_KEEP`, its ids are dropped: {ids}",
    ("window_start", "ids"),
)
SPILL_WRITTEN = Event(
    "spill.written",
    _W,
    "Wrote the {ids} ids of a window that waits for Redis to disk: {path}",
    ("window_start", "ids", "path", "seconds"),
)
SPILL_USED = Event(
    "spill.used",
    _I,
    "Redis has the {ids} ids of a window from disk: {path}",
    ("window_start", "ids", "path"),
)
SPILL_UNREADABLE = Event(
    "spill.unreadable",
    _E,
    "A spill cannot be read, its window stays degraded: {error}",
    ("path", "error"),
)
SPILL_DAMAGED = Event(
    "spill.damaged", _E, "Set a damaged spill aside, {error}, as {kept}", ("error", "kept")
)
SPILL_DROPPED = Event(
    "spill.dropped", _E, "Removed a spill that is a day old and was not used: {path}", ("path",)
)
SPILL_FULL = Event(
    "spill.full",
    _E,
    "Spills take {used} bytes, so windows that wait for Redis stay in memory: {most}",
    ("used", "most"),
)
SPILL_FAILED = Event(
    "spill.failed",
    _E,
    "A window that waits for Redis could not be written to disk, will try again: {error}",
    ("window_start", "error", "disk_full"),
)
CALLBACK_AUTHORITIES_MISSING = Event(
    "callback.authorities_missing",
    _W,
    "This host trusts no authority, callbacks to https will fail; hint: install its list of "
    "certificates (`ca-certificates`), or set `VERVE_CALLBACK_CA`",
    (),
)
CALLBACK_DELIVERED = Event(
    "callback.delivered",
    _I,
    "Callback answered {status}: {endpoint}",
    ("endpoint", "status", "attempt", "seconds", "window_start", "unique", "id"),
)
CALLBACK_RETRIED = Event(
    "callback.retried",
    _W,
    "Callback will be tried again, {reason} ({status}): {endpoint}",
    ("endpoint", "status", "reason", "attempt", "seconds", "window_start", "unique", "id"),
)
CALLBACK_FAILED = Event(
    "callback.failed",
    _W,
    "Callback dropped, {outcome}: {reason} ({status}): {endpoint}",
    (
        "endpoint",
        "outcome",
        "status",
        "reason",
        "attempt",
        "seconds",
        "window_start",
        "unique",
        "id",
    ),
)
CALLBACK_SUMMARY = Event(
    "callback.summary",
    _I,
    "Attempts at callbacks that are not logged one by one: {outcomes}",
    ("number", "outcomes"),
)


def markdown() -> str:
    """The table of events for the docs."""
    lines = ["| event | level | message | fields |", "|---|---|---|---|"]
    for event in EVENTS.values():
        level = logging.getLevelName(event.level).lower()
        names = ", ".join(f"`{name}`" for name in event.fields)
        lines.append(f"| `{event.name}` | {level} | {event.message} | {names} |")
    return "\n".join(lines)
