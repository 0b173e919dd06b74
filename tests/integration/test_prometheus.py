"""A real Prometheus scrapes the service, and its promtool reads the page."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.deploy.prometheus import Prometheus, program
from tests.support.service import ACCEPT, Server
from verve.http.metrics import METRICS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Serve

TOKEN = "a-token-that-only-prometheus-and-the-test-know"  # noqa: S105 - of this test only
IDS = 20


@pytest.mark.parametrize("server", [Server.VERVE, Server.NATIVE])
def test_prometheus_scrapes_a_service(serve: Serve, tmp_path: Path, server: Server) -> None:
    service = serve(server, workers=2, environment={"VERVE_ADMIN_TOKEN": TOKEN}, token=TOKEN)
    target = f"127.0.0.1:{service.port}"
    with Prometheus(tmp_path / "prometheus", target, token=TOKEN) as prometheus:
        for id in range(IDS):
            assert service.get(f"{ACCEPT}?id={id}").status_code == 200
        assert service.get(f"{ACCEPT}?id=x").status_code == 400
        reason = 'verve_rejected_total{reason="id_invalid"}'
        wanted = {
            "verve_ids_total": IDS,
            "verve_new_ids_total": IDS,
            reason: 1,
            "sum(verve_build_info)": 1,
            "count(verve_process_cpu_seconds_total)": 2,
            "verve_processes": 2,
        }

        def is_scraped() -> bool:
            return {query: prometheus.value(query) for query in wanted} == wanted

        service.wait_until(is_scraped, 30, "in Prometheus")
        service.wait_until(lambda: prometheus.target() == ("up", ""), 30, "up")
        # It asks for OpenMetrics, which alone has units and the type `info`.
        seen = prometheus.metadata()
        for metric in METRICS:
            assert seen[metric.family] == (metric.kind, metric.unit, metric.help)


@pytest.mark.parametrize("server", [Server.VERVE, Server.NATIVE])
def test_promtool_accepts_the_page(serve: Serve, server: Server) -> None:
    promtool = program("promtool")
    page = serve(server).get("/metrics").content
    done = subprocess.run(
        [promtool, "check", "metrics"], input=page, capture_output=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
