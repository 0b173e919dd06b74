"""The metrics of a host of a cluster; one that counts by itself has no samples of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from verve.stores.base import FailureKind

from .metric import Kind, Metric, by_trouble

if TYPE_CHECKING:
    from collections.abc import Callable

    from verve.status.cluster_status import Membership

    from .metric import Sample, Value

_COUNTER, _GAUGE = Kind.COUNTER, Kind.GAUGE


def _told(read: Callable[[Membership], Value]) -> Callable[[Sample], Value]:
    """By the leader's last word."""

    def find(sample: Sample) -> Value:
        return None if sample.cluster is None else read(sample.cluster)

    return find


def _sending(name: str) -> Callable[[Sample], Value]:
    """How all workers send their new ids."""

    def find(sample: Sample) -> Value:
        return None if sample.cluster is None else sample.stats["workers"][name]

    return find


CLUSTER_METRICS = (
    Metric(
        "verve_redis_up",
        _GAUGE,
        "1 while this host counts along in its cluster, and Redis answers its leader.",
        _told(lambda told: told.is_up),
    ),
    Metric(
        "verve_redis_failing",
        _GAUGE,
        "1 for what keeps Redis from answering the leader, in one word; else 0.",
        _told(lambda told: by_trouble(FailureKind, told.trouble)),
        "trouble",
    ),
    Metric(
        "verve_redis_failed_attempts",
        _GAUGE,
        "Attempts of the leader to reach Redis that failed in a row.",
        _told(lambda told: told.attempts),
    ),
    Metric(
        "verve_cluster_hosts",
        _GAUGE,
        "Hosts that live, as of the last heartbeat.",
        _told(lambda told: told.live_hosts),
    ),
    Metric(
        "verve_cluster_skew_seconds",
        _GAUGE,
        "By how much the wall clock of this host is ahead of Redis's time; NaN before it was seen.",
        _told(lambda told: math.nan if told.skew_seconds is None else told.skew_seconds),
    ),
    Metric(
        "verve_cluster_unsent_windows",
        _GAUGE,
        "Windows that have ended, and of which not all ids of this host are in Redis.",
        _told(lambda told: told.unsent_windows),
    ),
    Metric(
        "verve_cluster_spill_files",
        _GAUGE,
        "Windows on disk that wait for Redis, those set aside too.",
        _told(lambda told: told.spill_files),
    ),
    Metric(
        "verve_cluster_spill_bytes",
        _GAUGE,
        "Disk that they take.",
        _told(lambda told: told.spill_bytes),
    ),
    Metric(
        "verve_cluster_revisions_total",
        _COUNTER,
        "Counts that this host published for the cluster in the place of an earlier one.",
        _told(lambda told: told.revisions),
    ),
    Metric(
        "verve_cluster_degraded_windows_total",
        _COUNTER,
        "Counts that this host published for the cluster without hosts that were late.",
        _told(lambda told: told.degraded_windows),
    ),
    Metric(
        "verve_cluster_resent_ids_total",
        _COUNTER,
        "Ids that were sent to Redis again when their window was closed.",
        _told(lambda told: told.resent_ids),
    ),
    Metric(
        "verve_cluster_disturbances_total",
        _COUNTER,
        "How often Redis was seen to have lost something.",
        _told(lambda told: told.disturbances),
    ),
    Metric(
        "verve_worker_sent_ids_total",
        _COUNTER,
        "New ids of all workers that Redis has acknowledged.",
        _sending("sent"),
    ),
    Metric(
        "verve_worker_waiting_ids",
        _GAUGE,
        "New ids of all workers that wait to be sent to Redis.",
        _sending("waiting"),
    ),
    Metric(
        "verve_worker_left_out_ids_total",
        _COUNTER,
        "New ids of all workers that wait for the closing of their window, since too many waited.",
        _sending("left_out"),
    ),
    Metric(
        "verve_worker_failed_batches_total",
        _COUNTER,
        "Batches of new ids of all workers that Redis did not acknowledge at once.",
        _sending("failed_batches"),
    ),
)
