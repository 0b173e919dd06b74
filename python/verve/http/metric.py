"""The type of a metric, and the sample from which all metrics are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, cast

from verve._verve import callback_figures
from verve.publishing.sink_status import SinkStatus
from verve.sinks import KAFKA, LOG

from . import proc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from verve._verve import CallbackFigures, Counter, Stats
    from verve.service.host_facts import Facts
    from verve.service.running import RunningService
    from verve.status.cluster_status import Membership

    from .proc import Process

    Value = float | Mapping[str, float] | Mapping[tuple[str, ...], float] | None

UNITS = ("seconds", "bytes")
"""Units that the name of a metric ends with. The other metrics are numbers."""


class Kind(StrEnum):
    """Type of a metric, in the words of Prometheus.

    A counter only rises, and restarts with a new segment or a new worker. An info is always 1: its
    labels are the information.
    """

    COUNTER = "counter"
    GAUGE = "gauge"
    INFO = "info"


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
    processes: Mapping[int, Process]
    """The processes that share the segment, by their ids."""

    @classmethod
    def take(cls, service: RunningService, facts: Facts) -> Sample:
        """Read the segment and `/proc`; `facts` are the figures of the host's files."""
        service.listeners.report()
        stats = service.counter.stats()
        return cls(
            service,
            stats,
            facts.sinks.get(LOG, SinkStatus()),
            facts.sinks.get(KAFKA, SinkStatus()),
            callback_figures(service.counter),
            facts.cluster,
            facts,
            proc.read(stats["processes"]),
        )

    @property
    def counter(self) -> Counter:
        """The counter of the service."""
        return self.service.counter


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: `read` returns a number, numbers by the values of its labels, or None.

    A value of a label is one word of a closed list, in the form of the ecosystem: `id_missing`.
    `values` describes values that are no such words.
    """

    name: str
    kind: Kind
    help: str
    read: Callable[[Sample], Value]
    labels: tuple[str, ...] = ()
    values: str | None = None

    @property
    def family(self) -> str:
        """The name without the suffix of its type."""
        return self.name.removesuffix("_total").removesuffix("_info")

    @property
    def unit(self) -> str:
        """The unit that the name ends with; empty if the value is a number."""
        return next((unit for unit in UNITS if self.family.endswith(f"_{unit}")), "")

    def samples(self, sample: Sample) -> Iterator[tuple[dict[str, str], float]]:
        """The labels and the value of each sample."""
        value = self.read(sample)
        if isinstance(value, Mapping):
            for key, number in value.items():
                words = (key,) if isinstance(key, str) else key
                yield dict(zip(self.labels, words, strict=True)), number
        elif value is not None:
            yield {}, value


def stat(name: str) -> Callable[[Sample], Value]:
    """Return a reader of a figure of the segment, over all processes."""

    def read(sample: Sample) -> Value:
        value: Value = cast("Mapping[str, Value]", sample.stats)[name]
        return value

    return read


def by_word(figures: Mapping[str, float]) -> Mapping[str, float]:
    """Return the figures by their words in the form of a label: `id_missing` for `id missing`."""
    return {_word(name): number for name, number in figures.items()}


def _word(name: str) -> str:
    return name.replace(" ", "_").replace("-", "_")


def by_trouble(kinds: type[StrEnum], trouble: str | None) -> Value:
    """Return 1 for the kind of the failure and 0 for the others; an unknown kind is `other`."""
    known = {str(kind): 0 for kind in kinds}
    if trouble:
        known[trouble if trouble in known else "other"] = 1
    return by_word(known)
