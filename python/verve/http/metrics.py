"""`/metrics` in the Prometheus text format: one table, which also makes its docs.

The figures come from the segment, so any worker answers for the whole host; only what is said to
be of "this worker" is its own.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, cast

from verve._verve import callback_figures
from verve.cluster import standing as cluster_standing
from verve.publishing import standing
from verve.sinks import KAFKA

from .api import unusable
from .exchange import Response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from verve._verve import CallbackFigures, Counter, Stats
    from verve.cluster.shipper import ShipperState
    from verve.cluster.standing import ClusterStanding
    from verve.publishing.standing import Standing
    from verve.worker import Worker

    from .exchange import Request

    Value = float | Mapping[str, float]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Kind(StrEnum):
    """What a number does: a counter only rises, until the segment is made anew."""

    COUNTER = "counter"
    GAUGE = "gauge"


@dataclass(frozen=True, slots=True)
class Sample:
    """All that the metrics are read from, taken at one moment."""

    worker: Worker
    counter: Counter
    stats: Stats
    kafka: Standing
    callbacks: CallbackFigures
    cluster: ClusterStanding
    sending: ShipperState | None

    @classmethod
    def take(cls, worker: Worker, counter: Counter) -> Sample:
        """Read the segment."""
        settings = worker.settings
        has_kafka = settings is not None and KAFKA in settings.sinks
        kafka = standing.of(settings, KAFKA) if settings and has_kafka else standing.Standing()
        cluster = cluster_standing.of(settings) if settings and settings.redis_url else None
        return cls(
            worker,
            counter,
            counter.stats(),
            kafka,
            callback_figures(counter),
            cluster or cluster_standing.ClusterStanding(),
            None if worker.shipper is None else worker.shipper.state(),
        )


@dataclass(frozen=True, slots=True)
class Metric:
    """One row: `read` gives a number, or numbers by the values of `label`."""

    name: str
    kind: Kind
    help: str
    read: Callable[[Sample], Value]
    label: str | None = None


def _stat(name: str) -> Callable[[Sample], Value]:
    def read(sample: Sample) -> Value:
        value: Value = cast("Mapping[str, Value]", sample.stats)[name]
        return value

    return read


def _leading_process(sample: Sample) -> int:
    leader = sample.counter.leader()
    return 0 if leader is None or not leader[-1] else leader[2]


def _window_lag(sample: Sample) -> float:
    counter = sample.counter
    published = counter.published()
    # The window after the newest sealed one should be sealed as soon as it has ended.
    return max(0.0, counter.now() - (published + 2 * counter.window)) if published else 0.0


def _publishing(name: str) -> Callable[[Sample], Value]:
    def read(sample: Sample) -> Value:
        leader = sample.worker.leader
        value: Value = 0 if leader is None else getattr(leader.state(), name)
        return value

    return read


def _sending(name: str) -> Callable[[Sample], Value]:
    def read(sample: Sample) -> Value:
        value: Value = 0 if sample.sending is None else getattr(sample.sending, name)
        return value

    return read


_COUNTER, _GAUGE = Kind.COUNTER, Kind.GAUGE

METRICS = (
    Metric(
        "verve_requests_total",
        _COUNTER,
        "Ids accepted, duplicates included.",
        _stat("requests_total"),
    ),
    Metric(
        "verve_new_ids_total", _COUNTER, "Ids that were new in their window.", _stat("new_total")
    ),
    Metric(
        "verve_late_ids_total",
        _COUNTER,
        "Ids that came while their window was closing and were counted in the next one.",
        _stat("late_total"),
    ),
    Metric(
        "verve_rejected_total",
        _COUNTER,
        "Requests answered `failed`, by reason.",
        _stat("rejected"),
        "reason",
    ),
    Metric("verve_batches_total", _COUNTER, "Batches accepted.", _stat("batches_total")),
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
        "How long the oldest window that has ended waits to be sealed.",
        _window_lag,
    ),
    Metric(
        "verve_ledger_lag_seconds",
        _GAUGE,
        "Seconds of sealed windows that the ledger has not taken.",
        _publishing("ledger_lag"),
    ),
    Metric(
        "verve_log_lag_seconds",
        _GAUGE,
        "Seconds of sealed windows that the log has not taken.",
        _publishing("log_lag"),
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
        "Attempts to deliver to Kafka that failed in a row; 0 when the last one did not.",
        lambda sample: sample.kafka.attempts,
    ),
    Metric(
        "verve_kafka_failing",
        _GAUGE,
        "1 for what made the last attempt to deliver to Kafka fail, in one word; else absent.",
        lambda sample: {sample.kafka.trouble: 1} if sample.kafka.trouble else {},
        "trouble",
    ),
    Metric(
        "verve_cluster_joined",
        _GAUGE,
        "1 while this host counts along in its cluster, and Redis answers its leader.",
        lambda s: s.cluster.joined and s.cluster.error is None and not s.cluster.is_stale,
    ),
    Metric(
        "verve_cluster_hosts", _GAUGE, "Hosts whose heartbeat is known.", lambda s: s.cluster.hosts
    ),
    Metric(
        "verve_cluster_skew_seconds",
        _GAUGE,
        "By how much the wall clock is ahead of Redis's time.",
        lambda s: s.cluster.skew_seconds,
    ),
    Metric(
        "verve_cluster_unsent_windows",
        _GAUGE,
        "Windows that have ended and whose ids are not all in Redis.",
        lambda s: s.cluster.unsent_windows,
    ),
    Metric(
        "verve_cluster_spill_bytes",
        _GAUGE,
        "Disk that the ids of windows take which wait for Redis.",
        lambda s: s.cluster.spill_bytes,
    ),
    Metric(
        "verve_cluster_degraded_windows",
        _GAUGE,
        "Windows that the leader published without all hosts, since it leads.",
        lambda s: s.cluster.degraded_windows,
    ),
    Metric(
        "verve_cluster_revised_windows",
        _GAUGE,
        "Revisions that the leader published, since it leads.",
        lambda s: s.cluster.revised_windows,
    ),
    Metric(
        "verve_cluster_resent_ids",
        _GAUGE,
        "Ids that were sent once more when their window was closed, since the leader leads.",
        lambda s: s.cluster.resent_ids,
    ),
    Metric(
        "verve_cluster_failing",
        _GAUGE,
        "1 for what keeps Redis from answering the leader, in one word; else absent.",
        lambda s: {s.cluster.trouble: 1} if s.cluster.trouble else {},
        "trouble",
    ),
    Metric(
        "verve_store_sent_ids", _GAUGE, "New ids that this worker sent to Redis.", _sending("sent")
    ),
    Metric(
        "verve_store_waiting_ids",
        _GAUGE,
        "New ids of this worker that wait to be sent to Redis.",
        _sending("waiting"),
    ),
    Metric(
        "verve_store_left_out_ids",
        _GAUGE,
        "New ids of this worker that closing sends, since too many waited.",
        _sending("left_out"),
    ),
    Metric(
        "verve_store_failed_batches",
        _GAUGE,
        "Batches of this worker that Redis did not acknowledge at once.",
        _sending("failures"),
    ),
    Metric(
        "verve_callbacks_pending",
        _GAUGE,
        "Callbacks that wait or are being sent.",
        lambda sample: sample.callbacks["pending"],
    ),
    Metric(
        "verve_callbacks_total",
        _COUNTER,
        "Callbacks that came to their end, by how.",
        lambda sample: sample.callbacks["ended"],
        "outcome",
    ),
    Metric(
        "verve_callback_retries_total",
        _COUNTER,
        "Attempts at callbacks that failed and were followed by another.",
        lambda sample: sample.callbacks["retried"],
    ),
    Metric(
        "verve_callbacks_taken_over_total",
        _COUNTER,
        "Callbacks that were taken over from a process that is gone.",
        lambda sample: sample.callbacks["taken_over"],
    ),
    Metric(
        "verve_max_ids",
        _GAUGE,
        "Ids that a window is meant to hold at the most.",
        _stat("max_ids"),
    ),
    Metric(
        "verve_window_slots",
        _GAUGE,
        "Slots of the current window's table, by now.",
        _stat("window_slots"),
    ),
    Metric("verve_arenas", _GAUGE, "Arenas, by state.", _stat("arenas"), "state"),
    Metric("verve_arena_bytes", _GAUGE, "Memory reserved for arenas.", _stat("arena_bytes")),
    Metric(
        "verve_processes",
        _GAUGE,
        "Processes at the segment.",
        lambda sample: len(sample.stats["processes"]),
    ),
    Metric(
        "verve_leader_process",
        _GAUGE,
        "Process id of the leader; 0 while no live process leads.",
        _leading_process,
    ),
    Metric("verve_leader_term", _GAUGE, "Number of the leader's term.", _stat("leader_term")),
    Metric(
        "verve_clock_offset_seconds",
        _GAUGE,
        "What the segment's clock adds to the time since boot.",
        _stat("clock_offset_seconds"),
    ),
    Metric(
        "verve_clock_skew_seconds",
        _GAUGE,
        "By how much the wall clock is ahead of the segment's clock.",
        _stat("skew_seconds"),
    ),
    Metric(
        "verve_clock_distrusted",
        _GAUGE,
        "1 while windows go by the time since boot, since the wall clock was set back.",
        _stat("clock_distrusted"),
    ),
    Metric(
        "verve_fast_path",
        _GAUGE,
        "1 if this worker answers accepts without the event loop.",
        lambda sample: sample.worker.fast_path,
    ),
    Metric(
        "verve_draining",
        _GAUGE,
        "1 if this worker is on its way out.",
        lambda sample: sample.worker.draining,
    ),
)


async def page(worker: Worker, _request: Request) -> Response:
    """`/metrics`."""
    if worker.counter is None:
        return unusable("the segment could not be attached")
    text = await asyncio.to_thread(render, worker, worker.counter)
    headers = [("content-type", CONTENT_TYPE), ("cache-control", "no-store")]
    return Response(200, headers, text.encode())


def render(worker: Worker, counter: Counter) -> str:
    """The whole page."""
    sample = Sample.take(worker, counter)
    return "".join(line + "\n" for metric in METRICS for line in _lines(metric, sample))


def _lines(metric: Metric, sample: Sample) -> Iterator[str]:
    yield f"# HELP {metric.name} {metric.help}"
    yield f"# TYPE {metric.name} {metric.kind}"
    value = metric.read(sample)
    if metric.label is None:
        yield f"{metric.name} {_number(value)}"
    else:
        assert not isinstance(value, int | float)  # noqa: S101 - a label comes with a mapping
        for name, number in value.items():
            yield f'{metric.name}{{{metric.label}="{name}"}} {_number(number)}'


def _number(value: Value) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def markdown() -> str:
    """The table of metrics for the docs."""
    lines = ["| metric | kind | meaning |", "|---|---|---|"]
    for metric in METRICS:
        name = metric.name if metric.label is None else f"{metric.name}{{{metric.label}}}"
        lines.append(f"| `{name}` | {metric.kind} | {metric.help} |")
    return "\n".join(lines)
