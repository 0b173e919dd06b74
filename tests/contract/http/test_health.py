"""`/livez`, `/readyz` and `/metrics`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.support.http.raw import ask
from tests.support.service import ACCEPT, Server, Service
from verve.http.metrics import METRICS

if TYPE_CHECKING:
    from tests.conftest import Serve

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS = "application/openmetrics-text"
SCRAPER = (
    f"{OPEN_METRICS};version=1.0.0,{OPEN_METRICS};version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
"""What Prometheus 2 asks for."""
ODD = [
    f"{OPEN_METRICS};version={version}"
    for version in ("x", "1.0.x", "2.x.y", "1", "1.0.0.0", "9" * 5_000, '"1.0.0"', "")
]
PARTS = {"process", "segment", "arenas", "leader", "ledger", "files", "log", "clock"}


def test_a_healthy_service(service: Service) -> None:
    assert service.get("/livez").text == "live"
    # On a busy machine the files may answer too late, which readiness says, once.
    service.wait_until(lambda: service.get("/readyz").text == "ready", 20, "ready")
    ready = service.get("/readyz")
    assert ready.status_code == 200
    assert ready.headers["cache-control"] == "no-store"
    told = service.get("/readyz?verbose").json()
    assert told["ready"] is True
    assert told["parts"].keys() == PARTS
    assert {part["state"] for part in told["parts"].values()} == {"ok"}
    assert service.get("/readyz?a=1&verbose=0").json() == told
    assert told["service"]["window_seconds"] == service.window
    assert told["service"]["segment"] == str(service.segment)


def test_check_asks_the_service_and_not_its_own_settings(serve: Serve) -> None:
    service = serve(Server.VERVE, window=2)
    service.get(ACCEPT, params={"id": "7"})
    others = {name: value for name, value in os.environ.items() if not name.startswith("VERVE_")}
    for more in ({}, {"VERVE_WINDOW": "5", "VERVE_STATE_DIR": "/nowhere/verve"}):
        done = subprocess.run(
            [sys.executable, "-m", "verve", "check", "--port", str(service.port)],
            check=False,
            capture_output=True,
            text=True,
            timeout=30,
            env={**others, **more},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"windows of 2 s: `{service.segment}`" in done.stdout
        assert f"{service.state_directory}/ledger.sqlite3`" in done.stdout


def test_a_removed_segment_only_degrades(serve: Serve) -> None:
    service = serve(Server.GRANIAN)
    service.segment.unlink()
    answer = service.get("/readyz")
    assert (answer.status_code, answer.text) == (200, "ready, degraded: segment file removed")
    told = service.get("/readyz?verbose").json()
    assert told["ready"] is True
    assert told["parts"]["segment"]["state"] == "degraded"


def test_a_ledger_that_cannot_be_written_only_degrades(serve: Serve) -> None:
    service = serve(Server.GRANIAN, window=1)
    for path in service.state_directory.glob("ledger.sqlite3*"):
        path.unlink()
    (service.state_directory / "ledger.sqlite3").mkdir()

    def degraded() -> bool:
        return "ledger" in service.get("/readyz").text

    service.wait_until(degraded, 10, "degraded")
    answer = service.get("/readyz")
    assert answer.status_code == 200
    assert answer.text.startswith("ready, degraded: ")
    part = service.get("/readyz?verbose").json()["parts"]["ledger"]
    assert part["state"] == "degraded"


def test_metrics_follow_the_requests(service: Service) -> None:
    before = service.metrics()
    for id in (1, 1):
        ask(service, "GET", f"{ACCEPT}?id={time.time_ns() + id}")
    ask(service, "POST", ACCEPT, [("content-type", "text/plain")], b"%d\n1" % time.time_ns())
    after = service.metrics()
    assert after["verve_ids_total"] == before["verve_ids_total"] + 4
    assert after["verve_new_ids_total"] >= before["verve_new_ids_total"] + 3
    assert after["verve_batches_total"] == before["verve_batches_total"] + 1
    assert after["verve_window_seconds"] == 3600
    assert after["verve_processes"] == 1
    assert after["verve_leader_process"] in service.workers()
    assert after["verve_leader_term"] >= 1
    assert sum(after[f'verve_arenas{{state="{s}"}}'] for s in ("free", "open", "sealed")) == 16
    for name in ("window_lag_seconds", "ledger_lag_seconds", "clock_distrusted", "draining"):
        assert after[f"verve_{name}"] == 0
    assert abs(after["verve_clock_skew_seconds"]) < 5


def test_the_page_is_in_the_prometheus_text_format(service: Service) -> None:
    answer = service.get("/metrics")
    assert answer.headers["content-type"] == TEXT
    kinds: dict[str, str] = {}
    helped: list[str] = []
    for line in answer.text.splitlines():
        if line.startswith("# HELP "):
            helped.append(line.split(" ", 3)[2])
        elif line.startswith("# TYPE "):
            _, _, name, kinds_word = line.split(" ")
            kinds[name] = kinds_word
        else:
            label = r'[a-z]+="[a-z0-9_.]+"'
            number = r"NaN|-?[0-9.]+(e[+-]?[0-9]+)?"
            sample = re.fullmatch(rf"([a-z_]+)(\{{{label}(,{label})*\}})? ({number})", line)
            assert sample, line
            assert helped[-1] == sample[1]
            assert (kinds[sample[1]] == "counter") == sample[1].endswith("_total")
    assert helped == list(kinds) == [metric.name for metric in METRICS]
    assert answer.text.endswith("\n")


@pytest.mark.parametrize("accept", [OPEN_METRICS, f"{OPEN_METRICS};version=1.0.0", SCRAPER])
def test_the_page_is_in_openmetrics_for_those_who_ask(service: Service, accept: str) -> None:
    answer = service.get("/metrics", headers={"accept": accept})
    assert answer.headers["content-type"].startswith(f"{OPEN_METRICS}; version=1.0.0; ")
    read = text_string_to_metric_families(answer.text)  # type: ignore[no-untyped-call]
    families = {family.name: family for family in read}
    assert list(families) == [metric.family for metric in METRICS]
    for metric in METRICS:
        family = families[metric.family]
        assert (family.type, family.unit) == (metric.kind, metric.unit)
        assert {sample.name for sample in family.samples} <= {metric.name}


@pytest.mark.parametrize("accept", ["", "*/*", "text/html", "text/plain;version=0.0.4", *ODD])
def test_everybody_else_gets_text(service: Service, accept: str) -> None:
    answer = service.get("/metrics", headers={"accept": accept})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == TEXT
    assert "verve_ids_total " in answer.text


def test_what_was_published_last_is_told(serve: Serve) -> None:
    service = serve(window=1)
    name = "verve_last_published_window_timestamp_seconds"

    def told() -> bool:
        window = service.windows(1)
        return bool(window) and service.metrics()[name] > 0

    service.wait_until(told, 10, "published")
    assert service.metrics()[name] % 1 == 0
    assert abs(service.metrics()[name] - time.time()) < 60


def test_the_native_listener_shows_its_figures(serve: Serve) -> None:
    service = serve(Server.NATIVE)
    for id in range(3):
        assert service.get(f"{ACCEPT}?id={id}").status_code == 200
    (worker,) = service.workers()
    lane = f'verve_listener_accepts_total{{lane="%s",worker="{worker}"}}'
    others = f'verve_listener_other_requests_total{{worker="{worker}"}}'
    before = service.metrics()
    assert before[lane % "accept"] + before[lane % "hyper"] == 3
    assert before[f'verve_listener_connections{{worker="{worker}"}}'] >= 1
    after = service.metrics()
    assert after[others] > before[others]
    assert after[lane % "accept"] == before[lane % "accept"]
