"""The table of metrics, from which `/metrics` and `docs/reference/metrics.md` are made.

The figures come from the segment, from `/proc` and from the leader's files, so any worker can
answer for the whole host: each scrape may reach a different worker. Only the figures of the native
listener are those of the worker that answers. The values of a label are a closed list, and every
scrape contains all of them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import verve
from verve.publishing.lease import Cursor
from verve.sinks import LOG
from verve.sinks.base import FailureKind

from .archive_metrics import ARCHIVE_METRICS
from .cluster_metrics import CLUSTER_METRICS
from .metric import Kind, Metric, by_trouble, by_word, stat
from .process_metrics import PROCESS_METRICS

if TYPE_CHECKING:
    from collections.abc import Callable

    from .metric import Sample, Value


def _leading_process(sample: Sample) -> int:
    leader = sample.counter.lease.holder()
    return 0 if leader is None or not leader.alive else leader.process


def _window_lag(sample: Sample) -> float:
    counter = sample.counter
    published = counter.ring.newest()
    # The window after the newest sealed one is due as soon as it has ended.
    return max(0.0, counter.now() - (published + 2 * counter.window)) if published else 0.0


def _last_published(sample: Sample) -> float:
    cursor = Cursor.LOG if LOG in sample.service.settings.sinks else Cursor.LEDGER
    return sample.counter.ring.cursor(cursor) or math.nan


def _publishing(name: str) -> Callable[[Sample], Value]:
    def read(sample: Sample) -> Value:
        value: Value = getattr(sample.service.leader.state(), name)
        return value

    return read


def _workers(name: str) -> Callable[[Sample], Value]:
    return lambda sample: sample.stats["workers"][name]


_COUNTER, _GAUGE = Kind.COUNTER, Kind.GAUGE

METRICS = (
    Metric(
        "verve_build_info",
        Kind.INFO,
        "Version of the worker that answers.",
        lambda _: {verve.__version__: 1},
        ("version",),
        "that of the wheel",
    ),
    Metric(
        "verve_ids_total",
        _COUNTER,
        "Accepted ids, including duplicates.",
        stat("requests_total"),
    ),
    Metric(
        "verve_new_ids_total", _COUNTER, "Ids that were new in their window.", stat("new_total")
    ),
    Metric(
        "verve_late_ids_total",
        _COUNTER,
        "Ids that arrived while their window was frozen, counted in the next window.",
        stat("late_total"),
    ),
    Metric(
        "verve_rejected_total",
        _COUNTER,
        "Requests answered `failed`, by reason.",
        lambda sample: by_word(sample.stats["rejected"]),
        ("reason",),
    ),
    Metric(
        "verve_errors_total",
        _COUNTER,
        "Requests of any path answered 500: a fault of the service, which the log describes.",
        _workers("errors"),
    ),
    Metric("verve_batches_total", _COUNTER, "Accepted batches.", stat("batches_total")),
    Metric(
        "verve_window_unique",
        _GAUGE,
        "Distinct ids of the current window so far.",
        lambda sample: sample.counter.count(),
    ),
    Metric(
        "verve_window_seconds",
        _GAUGE,
        "Length of a window.",
        lambda sample: sample.counter.window,
    ),
    Metric(
        "verve_window_lag_seconds",
        _GAUGE,
        "Age of the oldest window that has ended and is not sealed.",
        _window_lag,
    ),
    Metric(
        "verve_last_published_window_timestamp_seconds",
        _GAUGE,
        "Start of the last window that the log, or without it the ledger, has taken, in Unix time; "
        "NaN before the first.",
        _last_published,
    ),
    Metric(
        "verve_ledger_lag_seconds",
        _GAUGE,
        "Seconds of sealed windows that the ledger has not taken.",
        _publishing("ledger_lag"),
    ),
    Metric(
        "verve_ledger_dropped_windows_total",
        _COUNTER,
        "Old windows that the ledger dropped before a sink took them.",
        lambda sample: sample.facts.dropped,
        ("sink",),
    ),
    Metric(
        "verve_log_lag_seconds",
        _GAUGE,
        "Seconds of sealed windows that the log has not taken.",
        _publishing("log_lag"),
    ),
    Metric(
        "verve_log_failed_attempts",
        _GAUGE,
        "Failed attempts in a row to log a window; 0 after a success.",
        lambda sample: sample.log.attempts,
    ),
    Metric(
        "verve_log_failing",
        _GAUGE,
        "1 for the kind of the last failure to log a window, else 0.",
        lambda sample: by_trouble(FailureKind, sample.log.failure),
        ("trouble",),
    ),
    Metric(
        "verve_log_lost_lines_total",
        _COUNTER,
        "Lines of all processes that could not be written; counts of windows are never lost.",
        lambda sample: sample.facts.lost_lines,
        ("output",),
    ),
    Metric(
        "verve_kafka_lag_seconds",
        _GAUGE,
        "Seconds of windows in the ledger that Kafka has not acknowledged.",
        lambda sample: sample.kafka.lag_seconds or 0,
    ),
    Metric(
        "verve_kafka_waiting_windows",
        _GAUGE,
        "Windows in the ledger that Kafka has not acknowledged.",
        lambda sample: sample.kafka.waiting or 0,
    ),
    Metric(
        "verve_kafka_failed_attempts",
        _GAUGE,
        "Failed attempts in a row to deliver to Kafka; 0 after a success.",
        lambda sample: sample.kafka.attempts,
    ),
    Metric(
        "verve_kafka_failing",
        _GAUGE,
        "1 for the kind of the last failure to deliver to Kafka, else 0.",
        lambda sample: by_trouble(FailureKind, sample.kafka.failure),
        ("trouble",),
    ),
    *CLUSTER_METRICS,
    *ARCHIVE_METRICS,
    Metric(
        "verve_callbacks_pending",
        _GAUGE,
        "Callbacks that wait or that are being sent.",
        lambda sample: sample.callbacks["pending"],
    ),
    Metric(
        "verve_callbacks_total",
        _COUNTER,
        "Finished callbacks, by outcome.",
        lambda sample: by_word(sample.callbacks["ended"]),
        ("outcome",),
    ),
    Metric(
        "verve_callback_retries_total",
        _COUNTER,
        "Failed attempts at callbacks that another attempt follows.",
        lambda sample: sample.callbacks["retried"],
    ),
    Metric(
        "verve_callback_failures_total",
        _COUNTER,
        "Failed attempts at callbacks, by cause.",
        lambda sample: by_word(sample.callbacks["failures"]),
        ("cause",),
    ),
    Metric(
        "verve_callbacks_taken_over_total",
        _COUNTER,
        "Callbacks taken over from processes that are gone.",
        lambda sample: sample.callbacks["taken_over"],
    ),
    Metric(
        "verve_max_ids",
        _GAUGE,
        "Maximum number of ids per window.",
        stat("max_ids"),
    ),
    Metric(
        "verve_window_slots",
        _GAUGE,
        "Slots of the current window's table.",
        stat("window_slots"),
    ),
    Metric("verve_arenas", _GAUGE, "Arenas, by state.", stat("arenas"), ("state",)),
    Metric("verve_arena_bytes", _GAUGE, "Memory reserved for arenas.", stat("arena_bytes")),
    Metric(
        "verve_processes",
        _GAUGE,
        "Processes that share the segment.",
        lambda sample: len(sample.stats["processes"]),
    ),
    Metric(
        "verve_leader_process",
        _GAUGE,
        "Process id of the leader; 0 while there is no live leader.",
        _leading_process,
    ),
    Metric("verve_leader_term", _GAUGE, "Number of the leader's term.", stat("leader_term")),
    Metric(
        "verve_clock_offset_seconds",
        _GAUGE,
        "Offset of the segment's clock from the time since boot.",
        stat("clock_offset_seconds"),
    ),
    Metric(
        "verve_clock_skew_seconds",
        _GAUGE,
        "Lead of the wall clock over the segment's clock.",
        stat("skew_seconds"),
    ),
    Metric(
        "verve_clock_distrusted",
        _GAUGE,
        "1 while windows follow the time since boot, because their clock was set back.",
        stat("clock_distrusted"),
    ),
    Metric(
        "verve_fast_path",
        _GAUGE,
        "Workers that answer accepts without the event loop.",
        _workers("fast_path"),
    ),
    Metric(
        "verve_draining",
        _GAUGE,
        "Workers that are draining.",
        _workers("draining"),
    ),
    *PROCESS_METRICS,
)
