"""The live page in Chromium: its figures are those of the service, whatever happens to it."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING

import httpx
import pytest
from playwright.sync_api import expect

from tests.support.service import ACCEPT, Server

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.conftest import Visit
    from tests.conftest import Serve
    from tests.support.service import Service

TOKEN = "correct-horse-battery-staple"  # noqa: S105 - of this test alone
SECONDS = 30
WINDOW = 12
"""Of 30 s, at least two boundaries."""
_SHOWN = """() => {
  const { start, value } = document.getElementById("unique").dataset;
  return start ? [Date.parse(start) / 1000, Number(value)] : [0, 0];
}"""


def _live(page: Page) -> None:
    page.wait_for_selector('#connection[data-state="live"]')
    page.wait_for_selector("#figures:not([hidden])")


def _state(page: Page, state: str) -> str:
    page.wait_for_selector(f'#connection[data-state="{state}"]')
    return page.inner_text("#connection")


def _send(service: Service, id: int) -> int:
    """Send an id, and return the start of the window that counted it."""
    answer = service.get(f"{ACCEPT}?id={id}&verdict=1")
    assert answer.text == "ok"
    return int(answer.headers["verve-window"])


def _wait_shown(service: Service, page: Page, sent: Counter[int], newest: int) -> int:
    """Wait until the page shows the number of ids sent in its window; return the window."""

    def shown() -> int | None:
        start, unique = page.evaluate(_SHOWN)
        return int(start) if start >= newest and unique == sent[int(start)] else None

    return service.wait_until(shown, 10, f"shown {dict(sent)}")


@pytest.mark.parametrize("server", [Server.VERVE, Server.NATIVE])
def test_the_number_is_that_of_the_ids_sent(server: Server, serve: Serve, visit: Visit) -> None:
    service = serve(server, workers=2, window=WINDOW)
    page = visit(service.url("/"))
    _live(page)
    sent: Counter[int] = Counter()
    windows: set[int] = set()
    ids = iter(range(1_000_000))
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        second = time.monotonic() + 1
        for _ in range(5):
            newest = _send(service, next(ids))
            sent[newest] += 1
        windows.add(_wait_shown(service, page, sent, newest))
        page.wait_for_timeout(max(0.0, second - time.monotonic()) * 1000)
    assert len(windows) >= 3
    # The windows that ended are in the table of the last hour, with the same figures.
    page.click("#hour summary")
    for start in sorted(windows)[:2]:
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(start))
        row = page.locator("#hour tbody tr", has_text=moment).first
        assert row.locator("td").nth(2).inner_text() == str(sent[start])
    # The figures of every window are read by arrow keys, too.
    page.focus("#hour .plot")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#hour .readout")).to_contain_text("distinct ids")


def test_what_to_do_first(serve: Serve, visit: Visit) -> None:
    service = serve(Server.VERVE)
    page = visit(service.url("/"), permissions=["clipboard-read", "clipboard-write"])
    _live(page)
    page.wait_for_selector("#empty:not([hidden])")
    page.click("#copy")
    expect(page.locator("#copied")).to_have_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == f"curl '{service.url(ACCEPT)}?id=7'"
    _send(service, 7)
    page.wait_for_selector("#empty", state="hidden")
    expect(page.locator("#unique")).to_have_text("1")


def test_what_is_rejected_is_shown_by_reason(serve: Serve, visit: Visit) -> None:
    service = serve(Server.VERVE)
    page = visit(service.url("/"))
    _live(page)
    for _ in range(3):
        assert service.get(f"{ACCEPT}?id=x").text == "failed"
    expect(page.locator("#rejected")).to_have_text("3")
    row = page.locator("#reasons tbody tr", has_text="id invalid")
    assert row.locator("td").nth(1).inner_text() == "3"


def test_a_restart(serve: Serve, visit: Visit) -> None:
    service = serve(Server.VERVE, window=3600)
    page = visit(service.url("/"))
    _live(page)
    _send(service, 1)
    service.stop()
    assert "Connection lost since" in _state(page, "lost")
    assert "UTC" in page.inner_text("#connection")
    service.start()
    _live(page)
    newest = _send(service, 2)
    _wait_shown(service, page, Counter({newest: 2}), newest)


def test_a_worker_dies_and_another_leads(serve: Serve, visit: Visit) -> None:
    service = serve(Server.VERVE, workers=2, window=3600)
    page = visit(service.url("/"))
    _live(page)
    leads = page.locator("#workers tbody tr", has_text="leads")
    leads.wait_for()
    dead = int(leads.locator("td").first.inner_text())
    assert dead == service.leader()
    os.kill(dead, signal.SIGKILL)

    def replaced() -> bool:
        page.wait_for_timeout(100)
        shown = {int(one) for one in page.locator("#workers td:first-child").all_inner_texts()}
        return dead not in shown and shown == set(service.workers()) and leads.count() == 1

    service.wait_until(replaced, 30, "shown with its new workers")
    _live(page)


def test_tokens(serve: Serve, visit: Visit) -> None:
    service = serve(Server.VERVE, token=TOKEN, environment={"VERVE_ADMIN_TOKEN": TOKEN})
    asked: list[str] = []
    page = visit("about:blank")
    page.on("request", lambda request: asked.append(request.url))
    page.goto(service.url("/"))
    assert _state(page, "access") == "A token is needed"
    assert page.evaluate("document.activeElement.id") == "token"
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    expect(page.locator("#access-text")).to_contain_text("does not accept")
    assert page.is_hidden("#figures")
    page.fill("#token", TOKEN)
    page.keyboard.press("Enter")
    _live(page)
    assert page.is_hidden("#access")
    # The tab keeps it, another one does not, and no address has it.
    page.reload()
    _live(page)
    assert _state(visit(service.url("/")), "access")
    assert asked
    assert not [url for url in asked if TOKEN in url]
    assert page.evaluate("localStorage.length") == 0


def test_a_hidden_tab_has_no_stream(serve: Serve, visit: Visit) -> None:
    service = serve(Server.VERVE)
    page = visit("about:blank")
    ended: list[str] = []
    page.on("requestfailed", lambda request: ended.append(httpx.URL(request.url).path))
    page.goto(service.url("/"))
    _live(page)
    for hidden, state in ((True, "hidden"), (False, "live")):
        page.evaluate(
            """hidden => {
              Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
              document.dispatchEvent(new Event("visibilitychange"));
            }""",
            hidden,
        )
        _state(page, state)

    def closed() -> bool:
        page.wait_for_timeout(50)
        return bool(ended)

    service.wait_until(closed, 5, "closed its stream")
    assert ended == ["/api/verve/stream"]
