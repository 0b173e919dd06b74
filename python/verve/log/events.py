"""The table of events: the name, level, message and fields of each, defined once."""

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
    "Verve {version} serves {address} with {workers} workers; a window holds at least "
    "{max_ids_per_window} ids",
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
        "admin_address",
        "listener",
        "open_files",
    ),
)
SERVICE_PAGE = Event("service.page", _I, "The live page is at {page}", ("page",))
SERVICE_STOPPED = Event("service.stopped", _I, "Verve stopped", ())
SERVICE_DRAINING = Event(
    "service.draining", _I, "Verve drains: it counts, and is not ready for more requests", ()
)
SERVICE_DRAIN_UNDONE = Event(
    "service.drain_undone", _I, "Verve drains no more, as `verve drain --undo` asked", ()
)
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
    "Workers end while they start, giving up: {exit_status}; hint: see the lines above; a limit of "
    "threads (`ulimit -u`), memory or files may be the cause",
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
    "Skipped an unreadable entry of {place}: {entry}: {content}",
    ("place", "entry", "content"),
)
SEGMENT_RETIRED = Event(
    "segment.retired",
    _W,
    "Replaced a segment of another window length or cluster; {number} of its windows went to the "
    "ledger",
    ("path", "window_seconds", "cluster", "number"),
)
SEGMENT_SET_ASIDE = Event(
    "segment.set_aside",
    _W,
    "Renamed a segment of another format and created a new one: {kept}",
    ("path", "kept"),
)
SEGMENT_REMOVED = Event(
    "segment.removed",
    _E,
    "The file of the segment was removed or replaced; processes still count in the segment, and "
    "unpublished windows are lost when the last process ends: {path}",
    ("path",),
)
SEGMENT_LOST = Event(
    "segment.lost",
    _W,
    "The segment of this state directory is gone, with its unpublished windows; created a new one: "
    "{path}",
    ("path",),
)
LEADER_STARTED = Event("leader.started", _I, "This process is the leader", ("term",))
LEADER_DEPOSED = Event("leader.deposed", _W, "This process is no longer the leader", ("term",))
LEADER_STUMBLED = Event(
    "leader.stumbled", _W, "Maintenance of the segment failed: {error}", ("error",)
)
HOLDER_KILLED = Event(
    "ledger.holder_killed",
    _W,
    "Killed a former leader that was stopped and held a lock on the ledger: {pid}",
    ("pid",),
)
LEDGER_DELAYED = Event(
    "ledger.delayed", _W, "The ledger is behind, retrying: {error}", ("error", "attempts")
)
LEDGER_RECOVERED = Event("ledger.recovered", _I, "The ledger is up to date again", ("attempts",))
LEDGER_SET_ASIDE = Event(
    "ledger.set_aside",
    _W,
    "Renamed a damaged ledger and created a new one: {kept}",
    ("kept",),
)
LEDGER_REMOVED = Event(
    "ledger.removed",
    _E,
    "The ledger was removed or replaced; created it again from the windows in the segment: {path}",
    ("path",),
)
LEDGER_MISSED = Event(
    "ledger.missed",
    _E,
    "The ring overwrote windows that the ledger had not taken, from {first} on",
    ("first",),
)
LEDGER_DROPPED = Event(
    "ledger.dropped",
    _E,
    "Dropped {number} old windows that the sink {sink} had not taken, from {first} on",
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
    "Sink {sink} is behind, retrying: {error}",
    ("sink", "error", "attempts"),
)
SINK_RECOVERED = Event(
    "sink.recovered", _I, "Sink {sink} takes windows again", ("sink", "attempts")
)
REDIS_AWAY = Event(
    "redis.away",
    _W,
    "Redis does not answer; this host continues to count: {error}",
    ("error", "attempts"),
)
REDIS_EVICTS = Event(
    "redis.evicts",
    _W,
    "Redis drops keys when it is full, and hosts then send their ids again: `{policy}`; "
    "hint: set `maxmemory-policy noeviction`",
    ("policy",),
)
CLUSTER_TIME_KEPT = Event(
    "cluster.time_kept", _W, "This process uses the time of its segment: {error}", ("error",)
)
REDIS_BACK = Event("redis.back", _I, "Redis answers again", ("attempts",))
SHIPPER_STUMBLED = Event(
    "shipper.stumbled", _W, "The sender of ids to Redis failed and restarts: {error}", ("error",)
)
CLUSTER_REFUSED = Event(
    "cluster.refused", _E, "This host cannot count with the others: {error}", ("error",)
)
CLUSTER_DISTURBED = Event(
    "cluster.disturbed",
    _W,
    "Redis lost data; checking hosts and windows: {what}",
    ("what",),
)
HOST_JOINED = Event(
    "host.joined", _I, "Host {host_id} joined the cluster: {name}", ("host_id", "name", "version")
)
HOST_LEFT = Event("host.left", _W, "Host {host_id} left the cluster: it {how}", ("host_id", "how"))
WINDOW_DEGRADED = Event(
    "window.degraded",
    _W,
    "A window was published without late hosts: {late_hosts}",
    ("window_start", "revision", "count", "late_hosts"),
)
WINDOW_REVISED = Event(
    "window.revised",
    _I,
    "Revision {revision} of a window replaces the count {before}: {count}",
    ("window_start", "revision", "before", "count"),
)
WINDOW_LOWER = Event(
    "window.lower",
    _W,
    "Redis has fewer ids of a window than were published; the record stays: {count}",
    ("window_start", "count"),
)
WINDOW_RESENT = Event(
    "window.resent",
    _W,
    "Sending all {ids} ids of a window to Redis again: {reason}",
    ("window_start", "ids", "reason"),
)
WINDOW_SENDING = Event(
    "window.sending",
    _I,
    "Sending ids of a window to Redis: {sent} of {ids}",
    ("window_start", "sent", "ids", "seconds"),
)
WINDOW_IDS_GONE = Event(
    "window.ids_gone",
    _E,
    "Ids of a window can no longer be read; the cluster may have counted too few: {ids}",
    ("window_start", "ids"),
)
WINDOW_EXPIRED = Event(
    "window.expired",
    _E,
    "A window was not complete within `VERVE_REDIS_KEEP`; dropped its ids: {ids}",
    ("window_start", "ids"),
)
SPILL_WRITTEN = Event(
    "spill.written",
    _W,
    "Wrote {ids} ids of a window that waits for Redis to disk: {path}",
    ("window_start", "ids", "path", "seconds"),
)
SPILL_USED = Event(
    "spill.used",
    _I,
    "Sent {ids} ids of a window from disk to Redis: {path}",
    ("window_start", "ids", "path"),
)
SPILL_UNREADABLE = Event(
    "spill.unreadable",
    _E,
    "A spill cannot be read; its window stays degraded: {error}",
    ("path", "error"),
)
SPILL_DAMAGED = Event(
    "spill.damaged", _E, "Renamed a damaged spill to {kept}: {error}", ("error", "kept")
)
SPILL_DROPPED = Event(
    "spill.dropped", _E, "Removed an unused spill that is a day old: {path}", ("path",)
)
SPILL_FULL = Event(
    "spill.full",
    _E,
    "Spills use {used} of {most} bytes; windows that wait for Redis stay in memory",
    ("used", "most"),
)
SPILL_FAILED = Event(
    "spill.failed",
    _E,
    "Cannot write a window that waits for Redis to disk, retrying: {error}",
    ("window_start", "error", "disk_full"),
)
ARCHIVE_ON = Event(
    "archive.on", _I, "The ids of closed windows go to the archive: {archive}", ("archive",)
)
ARCHIVE_WAITING = Event(
    "archive.waiting",
    _W,
    "Cannot write a window for the archive to disk, retrying: {error}",
    ("window_start", "error"),
)
ARCHIVE_DROPPED = Event(
    "archive.dropped",
    _E,
    "The archive lacks {ids} ids of a window, whose memory was needed: {reason}",
    ("window_start", "ids", "reason"),
)
ARCHIVE_LOST = Event(
    "archive.lost",
    _E,
    "The archive lacks {ids} ids of a window: {reason}",
    ("window_start", "ids", "reason"),
)
ARCHIVE_WRITTEN = Event(
    "archive.written",
    logging.DEBUG,
    "Archived {ids} ids of a window",
    ("window_start", "window_seconds", "ids", "seconds"),
)
ARCHIVE_DELAYED = Event(
    "archive.delayed",
    _W,
    "The archive takes no windows, retrying: {error}",
    ("error", "attempts"),
)
ARCHIVE_RECOVERED = Event("archive.recovered", _I, "The archive takes windows again", ("attempts",))
ARCHIVE_SET_ASIDE = Event(
    "archive.set_aside",
    _E,
    "Renamed a damaged file that waited to be archived to {kept}: {error}",
    ("error", "kept"),
)
ARCHIVE_WRITER_ENDED = Event(
    "archive.writer_ended",
    _W,
    "The process that writes the archive ended, starting it again: {exit_status}",
    ("pid", "exit_status"),
)
CALLBACK_AUTHORITIES_MISSING = Event(
    "callback.authorities_missing",
    _W,
    "This host trusts no certificate authority, so callbacks to https will fail; hint: install "
    "`ca-certificates`, or set `VERVE_CALLBACK_CA`",
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
    "Retrying a callback, {reason} ({status}): {endpoint}",
    ("endpoint", "status", "reason", "attempt", "seconds", "window_start", "unique", "id"),
)
CALLBACK_FAILED = Event(
    "callback.failed",
    _W,
    "Dropped a callback, {outcome}: {reason} ({status}): {endpoint}",
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
    "Attempts at callbacks without a line of their own: {outcomes}",
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
