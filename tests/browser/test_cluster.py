"""The live page of a cluster: it shows which host is late, and since when."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.support.cluster.hosts import Cluster
from tests.support.http.events import PATH, Events
from tests.support.paths import ROOT
from tests.support.service import ACCEPT
from verve.fields import misfits

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Locator, Page

    from tests.browser.conftest import Visit
    from tests.support.redis.server import RedisServer
    from tests.support.service import Service

PATIENCE_MS = 60_000


def _identity(host: Service) -> str:
    """The id of a host, as its own stream names it."""
    with Events(host.url(PATH)) as stream:
        id = stream.wait("figures").data["cluster"]["host_id"]
    assert isinstance(id, str)
    return id


def _row(page: Page, id: str) -> Locator:
    return page.locator("#hosts tbody tr", has_text=id)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("size", [390, 1280])
def test_the_host_that_is_late(
    server: RedisServer, tmp_path: Path, visit: Visit, size: int
) -> None:
    with Cluster(tmp_path, server.url, hosts=3, workers=1, window=2) as cluster:
        first, second, late = cluster.hosts
        ids = [_identity(host) for host in cluster.hosts]
        page = visit(first.url("/"), viewport={"width": size, "height": 900})
        page.set_default_timeout(PATIENCE_MS)
        assert first.get(f"{ACCEPT}?id=7").text == "ok"
        for id in ids:
            expect(_row(page, id)).to_contain_text("live", timeout=PATIENCE_MS)
        expect(_row(page, ids[0])).to_contain_text("this host")

        def is_late(hosts: dict[str, dict[str, Any]]) -> bool:
            states = [hosts[id]["state"] for id in ids]
            return states == ["live", "live", "late"]

        for pid in late.processes():
            os.kill(pid, signal.SIGSTOP)
        try:
            expect(_row(page, ids[2])).to_contain_text("late since", timeout=PATIENCE_MS)
            expect(_row(page, ids[2])).to_contain_text("UTC")
            for id in ids[:2]:
                expect(_row(page, id)).to_contain_text("live")
            # Any host says so.
            with Events(second.url(PATH)) as stream:
                figures = stream.wait("figures", lambda one: is_late(_hosts(one.data))).data
            hosts = _hosts(figures)
            assert hosts[ids[2]]["last_heartbeat"]
            assert [wrong for host in hosts.values() for wrong in misfits(host)] == []
            assert page.evaluate("document.documentElement.scrollWidth") == size
            found = Axe().run(page)
            assert found.violations_count == 0, found.generate_report()
            directory = ROOT / "target/screenshots"
            directory.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=directory / f"page-late-host-{size}.png", full_page=True)
        finally:
            for pid in late.processes():
                os.kill(pid, signal.SIGCONT)
        expect(_row(page, ids[2])).not_to_contain_text("late", timeout=PATIENCE_MS)
        expect(_row(page, ids[2])).to_contain_text("live")


def _hosts(figures: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {host["host_id"]: host for host in figures["cluster"]["hosts"]}
