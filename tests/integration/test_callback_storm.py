"""Ten thousand accepts a second, each with a callback: all are delivered, each with its count."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.callbacks.storm import Storm
from tests.support.caller import FULL
from tests.support.service import Server
from tests.support.timing import sleep_clear_of_boundary

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Serve
    from tests.support.service import Service

RATE = 10_000
ENVIRONMENT = {"VERVE_CALLBACKS": "public", "VERVE_CALLBACK_ALLOW": "127.0.0.1"}

pytestmark = [pytest.mark.timeout(600), pytest.mark.alone(reason="judges speed")]


def resident(service: Service) -> int:
    """Bytes of memory of all workers, shared ones too."""
    pages = [Path(f"/proc/{pid}/statm").read_text().split()[1] for pid in service.workers()]
    return sum(map(int, pages)) * 4096


@pytest.mark.parametrize("workers", [1, 2])
def test_all_are_delivered_with_their_counts(
    serve: Serve, scale: Callable[[int], int], workers: int
) -> None:
    environment = {**ENVIRONMENT, "VERVE_MAX_IDS_PER_WINDOW": "2M"}
    service = serve(Server.VERVE, workers=workers, window=10, environment=environment)
    seconds = scale(60)
    before = resident(service)
    began = time.monotonic()
    report = Storm(service, RATE, seconds).wait(seconds + 60)
    # A machine that stands still for a fifth of a second fills a destination's share of the cells:
    # then accepts are refused, and a refusal is no loss. In a full run it is at rest.
    refused = report["others"].pop("503 callbacks full", 0)
    assert report["others"] == {}
    assert refused <= RATE * seconds * (0.02 if FULL else 0.5)
    assert report["accepted"] == RATE * seconds - refused
    assert (report["missing"], report["wrong"]) == (0, 0)
    assert report["received"] == report["accepted"]
    metrics = service.metrics()
    assert metrics['verve_callbacks_total{outcome="delivered"}'] == report["accepted"]
    assert metrics["verve_callbacks_pending"] == 0
    # The table's pages, the cells' and some connections.
    assert resident(service) - before < workers * (200 << 20)

    def told() -> bool:
        summaries = sum(line["number"] for line in service.events("callback.summary"))
        return bool(len(service.events("callback.delivered")) + summaries == report["accepted"])

    service.wait_until(told, 20, "all told")
    most = workers * 100 * (time.monotonic() - began + 3)
    assert len(service.events("callback.delivered")) <= most


@pytest.mark.skipif(not FULL, reason="latencies are judged on a machine at rest, in full runs")
def test_callbacks_do_not_double_the_latency_of_accepts(serve: Serve) -> None:
    service = serve(Server.VERVE, window=10, environment=ENVIRONMENT)
    ratios = []
    for turn in range(5):
        sleep_clear_of_boundary(10, 9.9)
        first = ["--first", str(1 + turn * 1_000_000)]
        plain = Storm(service, RATE, 9, "--plain", *first).wait(60)
        sleep_clear_of_boundary(10, 9.9)
        callbacks = Storm(service, RATE, 9, *first).wait(60)
        ratios.append(callbacks["accept_p99"] / plain["accept_p99"])
    assert statistics.median(ratios) < 2, ratios


@pytest.mark.parametrize("server", [Server.VERVE, Server.GRANIAN, Server.GRANIAN_ASGI])
def test_a_stop_under_load_sends_what_was_taken(server: Server, serve: Serve) -> None:
    service = serve(server, workers=2, window=3600, environment=ENVIRONMENT)
    storm = Storm(service, 3_000, 12, "--drain", "8")
    wanted = 'verve_callbacks_total{outcome="delivered"}'
    service.wait_until(lambda: service.metrics()[wanted] > 4_000, 20, "under load")
    service.stop(30)
    report = storm.wait(60)
    assert report["accepted"] > 4_000
    assert (report["missing"], report["wrong"]) == (0, 0)
    assert report["others"]["connection"] > 0
