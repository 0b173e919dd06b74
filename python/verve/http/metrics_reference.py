"""The reference of metrics in `docs/reference/metrics.md`, made from the table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from verve._verve import Counter, callback_figures
from verve.publishing.sink_status import SinkStatus
from verve.service.host_facts import Facts
from verve.sinks import KAFKA, LOG
from verve.status.archive_status import ArchiveStatus
from verve.status.cluster_status import Membership

from .metric import Sample
from .metrics import METRICS

if TYPE_CHECKING:
    from .metric import Metric


def markdown() -> str:
    """Return the table for the docs, in Markdown."""
    lines = ["| metric | type | unit | labels | meaning |", "|---|---|---|---|---|"]
    blank = _blank()
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        if labels:
            labels += f" ({_values(metric, blank)})"
        row = (f"`{metric.name}`", metric.kind, metric.unit, labels, metric.help)
        lines.append(" | ".join(("", *row, "")).strip())
    return "\n".join(lines)


def _values(metric: Metric, blank: Sample) -> str:
    if metric.values is not None:
        return metric.values
    words = [word for labels, _ in metric.samples(blank) for word in labels.values()]
    return ", ".join(f"`{word}`" for word in words)


def _blank() -> Sample:
    """Return the figures of a new segment, from which the closed lists are read."""
    counter = Counter()
    try:
        return Sample(
            cast("Any", None),
            counter.stats(),
            SinkStatus(),
            SinkStatus(),
            callback_figures(counter),
            Membership(),
            Facts(archive=ArchiveStatus(), dropped=dict.fromkeys((LOG, KAFKA), 0)),
            {},
        )
    finally:
        counter.close()
