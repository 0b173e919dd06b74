"""`/metrics`: the table of metrics in the formats of Prometheus, written by its own client library.

The library is imported at the first scrape: a start must not wait for it.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from verve.request.exchange import SHARED, Response

from .metric import Sample
from .metrics import METRICS
from .operation import Answer, Operation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric as Family

    from verve.request.exchange import Request
    from verve.service.host_facts import Facts
    from verve.service.running import RunningService

# The library compares versions, and repeats them in its answer: one of another form it cannot take.
_ODD_VERSION = re.compile(r"version=(?![0-9]{1,3}(\.[0-9]{1,3}){2} *([;,]|$))")
_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

METRICS_PAGE = {
    "GET": Operation(
        "metrics",
        "The metrics of this host, in OpenMetrics for those who accept it.",
        {
            200: Answer(
                "The metrics.", {kind: {"type": "string"} for kind in (_TEXT, _OPEN_METRICS)}
            )
        },
    )
}


async def page(service: RunningService, request: Request) -> Response:
    """Answer `/metrics`."""
    facts = await service.host_facts.facts()
    accept = ",".join(request.header("accept"))
    kind, body = await asyncio.to_thread(render, service, facts, accept)
    return Response(200, [("content-type", kind), *SHARED], body)


def render(service: RunningService, facts: Facts, accept: str = "") -> tuple[str, bytes]:
    """Return the type and the content of the page, in the format that `accept` asks for."""
    from prometheus_client import CollectorRegistry  # noqa: PLC0415
    from prometheus_client.exposition import choose_encoder  # noqa: PLC0415

    encode, kind = choose_encoder("" if _ODD_VERSION.search(accept) else accept)
    # One for each page, so that scrapes at the same time share nothing. The library's own registry
    # is not used: it describes the answering process only.
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Page(Sample.take(service, facts)))
    return kind, encode(registry)


class _Page:
    """The metrics of one sample, for the library."""

    def __init__(self, sample: Sample) -> None:
        self._sample = sample

    def collect(self) -> Iterator[Family]:
        """Return each metric with its samples."""
        from prometheus_client import Metric as Family  # noqa: PLC0415

        for metric in METRICS:
            family = Family(metric.family, metric.help, metric.kind, metric.unit)
            for labels, value in metric.samples(self._sample):
                family.add_sample(metric.name, labels, value)
            yield family
