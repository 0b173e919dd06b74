"""The type of a metric, and the sample from which all metrics are read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, cast

from verve._verve import callback_figures
from verve.publishing.sink_status import SinkStatus
from verve.sinks import KAFKA, LOG

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from verve._verve import CallbackFigures, Counter, Stats
    from verve.service.host_facts import Facts
    from verve.service.running import RunningService
    from verve.status.cluster_status import Membership

    Value = float | Mapping[str, float] | None


class Kind(StrEnum):
    """Kind of a metric: a counter only rises, and restarts with a new segment or a new worker."""

    COUNTER = "counter"
    GAUGE = "gauge"


@dataclass(frozen=True, slots=True)
class Sample:
    """The inputs of all metrics, taken at one moment."""

    service: RunningService
    stats: Stats
    log: SinkStatus
    kafka: SinkStatus
    callbacks: CallbackFigures
    cluster: Membership | None
    facts: Facts

    @classmethod
    def take(cls, service: RunningService, facts: Facts) -> Sample:
        """Read the segment; `facts` are the figures of the host's files."""
        return cls(
            service,
            service.counter.stats(),
            facts.sinks.get(LOG, SinkStatus()),
            facts.sinks.get(KAFKA, SinkStatus()),
            callback_figures(service.counter),
            facts.cluster,
            facts,
        )

    @property
    def counter(self) -> Counter:
        """The counter of the service."""
        return self.service.counter


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: `read` returns a number, numbers by the values of `label`, or None."""

    name: str
    kind: Kind
    help: str
    read: Callable[[Sample], Value]
    label: str | None = None


def stat(name: str) -> Callable[[Sample], Value]:
    """Return a reader of a figure of the segment, over all processes."""

    def read(sample: Sample) -> Value:
        value: Value = cast("Mapping[str, Value]", sample.stats)[name]
        return value

    return read


def by_trouble(kinds: type[StrEnum], trouble: str | None) -> Value:
    """Return 1 for the kind of the failure and 0 for the others; an unknown kind is `other`."""
    known = {str(kind): 0 for kind in kinds}
    if trouble:
        known[trouble if trouble in known else "other"] = 1
    return known
