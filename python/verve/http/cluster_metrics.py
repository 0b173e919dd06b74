"""The metrics of a host in a cluster; a host without a cluster has no samples of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .metric import Kind, Metric, by_trouble

if TYPE_CHECKING:
    from collections.abc import Callable

    from verve.status.cluster_status import Membership

    from .metric import Sample, Value

_COUNTER, _GAUGE = Kind.COUNTER, Kind.GAUGE


def _membership(read: Callable[[Membership], Value]) -> Callable[[Sample], Value]:
    """Return a reader of a figure of the leader's last status file."""

    def find(sample: Sample) -> Value:
        return None if sample.cluster is None else read(sample.cluster)

    return find


def _sending(name: str) -> Callable[[Sample], Value]:
    """Return a reader of a figure that all workers' senders add up."""

    def find(sample: Sample) -> Value:
        return None if sample.cluster is None else sample.stats["workers"][name]

    return find


def _redis_failures(found: Membership) -> Value:
    # Imported here because most hosts are in no cluster.
    from verve.stores.base import FailureKind  # noqa: PLC0415

    return by_trouble(FailureKind, found.trouble)


CLUSTER_METRICS = (
    Metric(
        "verve_redis_up",
        _GAUGE,
        "1 while this host counts in its cluster and Redis answers its leader.",
        _membership(lambda found: found.is_up),
    ),
    Metric(
        "verve_redis_failing",
        _GAUGE,
        "1 for the kind of the leader's last failure to reach Redis, else 0.",
        _membership(_redis_failures),
        ("trouble",),
    ),
    Metric(
        "verve_redis_failed_attempts",
        _GAUGE,
        "Failed attempts in a row of the leader to reach Redis.",
        _membership(lambda found: found.attempts),
    ),
    Metric(
        "verve_cluster_hosts",
        _GAUGE,
        "Live hosts, as of the last heartbeat.",
        _membership(lambda found: found.live_hosts),
    ),
    Metric(
        "verve_cluster_skew_seconds",
        _GAUGE,
        "Lead of this host's wall clock over Redis's time; NaN while it is unknown.",
        _membership(lambda found: math.nan if found.skew_seconds is None else found.skew_seconds),
    ),
    Metric(
        "verve_cluster_unsent_windows",
        _GAUGE,
        "Windows that have ended and of which Redis lacks ids of this host.",
        _membership(lambda found: found.unsent_windows),
    ),
    Metric(
        "verve_cluster_spill_files",
        _GAUGE,
        "Windows on disk that wait for Redis, including those that were set aside.",
        _membership(lambda found: found.spill_files),
    ),
    Metric(
        "verve_cluster_spill_bytes",
        _GAUGE,
        "Disk space of the windows that wait for Redis.",
        _membership(lambda found: found.spill_bytes),
    ),
    Metric(
        "verve_cluster_revisions_total",
        _COUNTER,
        "Counts that this host committed for the cluster to replace an earlier count.",
        _membership(lambda found: found.revisions),
    ),
    Metric(
        "verve_cluster_degraded_windows_total",
        _COUNTER,
        "Counts that this host committed for the cluster without late hosts.",
        _membership(lambda found: found.degraded_windows),
    ),
    Metric(
        "verve_cluster_resent_ids_total",
        _COUNTER,
        "Ids that were sent to Redis again after their window was frozen.",
        _membership(lambda found: found.resent_ids),
    ),
    Metric(
        "verve_cluster_disturbances_total",
        _COUNTER,
        "Detected losses of data in Redis.",
        _membership(lambda found: found.disturbances),
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
        "New ids of all workers in the outbound queue to Redis.",
        _sending("waiting"),
    ),
    Metric(
        "verve_worker_left_out_ids_total",
        _COUNTER,
        "New ids of all workers that wait for the end of their window (outbound queue full).",
        _sending("left_out"),
    ),
    Metric(
        "verve_worker_failed_batches_total",
        _COUNTER,
        "Batches of new ids of all workers that Redis did not acknowledge at once.",
        _sending("failed_batches"),
    ),
)
