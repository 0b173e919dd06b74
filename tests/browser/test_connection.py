"""The connection of the live page: through a proxy, and with events that it cannot show."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.support.http.events import PATH
from tests.support.proxies.haproxy import HAProxy
from tests.support.proxies.nginx import Nginx
from tests.support.service import ACCEPT, Server

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser, Route

    from tests.browser.conftest import Visit
    from tests.conftest import Serve

TOKEN = "correct-horse-battery-staple"  # noqa: S105 - of this test alone
# The first event is whole, and the page throws at the second.
_EVENTS = """retry: 1000

event: reset
id: 0123456789abcdef:1
data: {"windows": []}

event: figures
data: {}

"""


@pytest.mark.parametrize("proxy", ["nginx", "haproxy"])
def test_it_is_live_through_a_proxy(serve: Serve, visit: Visit, tmp_path: Path, proxy: str) -> None:
    environment = {"VERVE_ADMIN_TOKEN": TOKEN}
    service = serve(Server.VERVE, window=2, token=TOKEN, environment=environment)
    directory = tmp_path / proxy
    between = (
        Nginx(directory, service.url()) if proxy == "nginx" else HAProxy(directory, service.port)
    )
    with between:
        page = visit(f"http://127.0.0.1:{between.port}/")
        page.wait_for_selector("#access:not([hidden])")
        page.fill("#token", TOKEN)
        page.keyboard.press("Enter")
        page.wait_for_selector('#connection[data-state="live"]')
        # Each second, and each closed window.
        sent: Counter[str] = Counter()
        for id in range(20):
            answer = service.get(f"{ACCEPT}?id={id}&verdict=1")
            sent[time.strftime("%H:%M:%S", time.gmtime(int(answer.headers["verve-window"])))] += 1
        page.click("#hour summary")
        for start, unique in sent.items():
            row = page.locator("#hour tbody tr", has_text=start).first
            expect(row.locator("td").nth(2)).to_have_text(str(unique), timeout=30_000)
        assert page.get_attribute("#connection", "data-state") == "live"


def test_an_event_that_it_cannot_show_is_not_asked_for_again_and_again(
    serve: Serve, chromium: Browser
) -> None:
    service = serve(Server.VERVE)
    asked: list[float] = []
    errors: list[str] = []

    def answer(route: Route) -> None:
        asked.append(time.monotonic())
        route.fulfill(status=200, content_type="text/event-stream", body=_EVENTS)

    with chromium.new_context() as context:
        page = context.new_page()
        page.on("console", lambda message: errors.append(message.text))
        page.route(f"**{PATH}", answer)
        page.goto(service.url("/"))
        expect(page.locator("#connection")).to_contain_text("cannot show what it received")

        def is_tried() -> bool:
            page.wait_for_timeout(100)
            return len(asked) >= 4

        service.wait_until(is_tried, 60, "asked for the stream again")
        # 0.5, 1 and 2 s: a timer of the browser is never early.
        gaps = [later - sooner for sooner, later in itertools.pairwise(asked)]
        assert all(gap >= least for gap, least in zip(gaps, (0.45, 0.95, 1.9), strict=False)), gaps
        assert errors
        # It shows what comes once there is something that it can show.
        page.unroute(f"**{PATH}")
        page.wait_for_selector('#connection[data-state="live"]', timeout=60_000)
