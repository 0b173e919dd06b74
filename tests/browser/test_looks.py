"""The live page for all readers: axe-core finds nothing, on phone and desktop, dark and light.

The tests leave their screenshots in `target/screenshots`.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import time
from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.support.cluster.hosts import Cluster
from tests.support.paths import ROOT
from tests.support.service import ACCEPT, Server, Service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Locator, Page

    from tests.browser.conftest import Visit
    from tests.support.redis.server import RedisServer

SCREENSHOTS = ROOT / "target/screenshots"
SIZES = {"phone": 390, "desktop": 1280}
_VISIBLE_MOTION = """() => document.getAnimations().length"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that has closed some windows, of different sizes."""
    directory = tmp_path_factory.mktemp("looks")
    with Service(directory, Server.VERVE, workers=2, window=2) as one:

        def filled() -> bool:
            _count(one)
            return len(one.windows()) >= 12

        one.wait_until(filled, 60, "with windows")
        yield one


def _accessible(page: Page) -> None:
    # The page lets no script in but its own, and axe-core comes in through the debugger.
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def _shoot(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"page-{name}.png", full_page=True)


def _count(service: Service) -> None:
    """Count ids, some of them twice, and reject a few."""
    number = time.time_ns() // 1_000_000_000
    for place in range(20 + number * 7 % 13):
        assert service.get(f"{ACCEPT}?id={number * 40 + place}").text == "ok"
        if place % 3 == 0:
            assert service.get(f"{ACCEPT}?id={number * 40}").text == "ok"
    service.get(f"{ACCEPT}?id=x")


def _open(visit: Visit, url: str, size: str, scheme: str) -> Page:
    page = visit(
        url,
        viewport={"width": SIZES[size], "height": 900},
        color_scheme=scheme,
        reduced_motion="reduce",
    )
    page.wait_for_selector('#connection[data-state="live"]')
    page.wait_for_selector("#hour canvas")
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_the_page_is_for_all(service: Service, visit: Visit, size: str, scheme: str) -> None:
    page = _open(visit, service.url("/"), size, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == SIZES[size]
    assert page.evaluate(_VISIBLE_MOTION) == 0
    _accessible(page)

    def counted() -> bool:
        _count(service)
        page.wait_for_timeout(200)
        return page.inner_text("#unique") != "0"

    service.wait_until(counted, 20, "shown with the ids of a window")
    _shoot(page, f"{size}-{scheme}")
    for summary in page.locator("summary").all():
        summary.press("Enter")
    page.wait_for_selector("#day tbody tr")
    _accessible(page)
    assert page.evaluate("document.documentElement.scrollWidth") == SIZES[size]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_asks_for_a_token_is_for_all(tmp_path: Path, visit: Visit, scheme: str) -> None:
    environment = {"VERVE_ADMIN_TOKEN": "correct-horse"}
    with Service(
        tmp_path,
        Server.VERVE,
        environment=environment,
        token="correct-horse",  # noqa: S106
    ) as one:
        page = visit(one.url("/"), color_scheme=scheme)
        page.wait_for_selector("#access:not([hidden])")
        _accessible(page)


def test_every_control_is_reached_by_keyboard(service: Service, visit: Visit) -> None:
    page = _open(visit, service.url("/"), "desktop", "light")
    reached = set()
    for _ in range(20):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate("document.activeElement.className || document.activeElement.localName")
        )
    assert {"plot", "summary"} <= reached


def _row(page: Page, title: str) -> Locator:
    """The value of one row of the cluster's card."""
    return page.locator("#cluster tr", has_text=title).locator("td").nth(1)


@pytest.mark.timeout(240)
def test_a_cluster_with_a_late_host(server: RedisServer, tmp_path: Path, visit: Visit) -> None:
    with Cluster(tmp_path, server.url, hosts=3, window=2) as cluster:
        first, _, late = cluster.hosts
        page = _open(visit, first.url("/"), "desktop", "light")
        expect(_row(page, "Live hosts")).to_have_text("3")
        ids = itertools.count()

        def counted() -> bool:
            number = next(ids)
            for host in cluster.hosts:
                assert host.get(f"{ACCEPT}?id={number}").text == "ok"
            page.wait_for_timeout(100)
            return page.locator("#host-unique").is_visible()

        first.wait_until(counted, 20, "shown with the count of this host")
        for pid in late.processes():
            os.kill(pid, signal.SIGSTOP)
        try:
            page.click("#hour summary")
            page.locator("#hour tbody tr", has_text="degraded").first.wait_for(timeout=60_000)
            # Revisions follow once the host is back.
            expect(_row(page, "Incomplete windows")).to_have_text(re.compile("^[1-9]"))
            _accessible(page)
            _shoot(page, "cluster")
        finally:
            for pid in late.processes():
                os.kill(pid, signal.SIGCONT)
        expect(page.locator("#hour tbody tr", has_text="revision").first).to_be_attached(
            timeout=60_000
        )
