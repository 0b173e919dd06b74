"""A real Chromium, and pages in it that keep what goes wrong in them."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

MISSING = "chromium is missing; hint: on Debian and Ubuntu: sudo apt-get install chromium"
# Root has no sandbox, and /dev/shm of a container may be small.
_OPTIONS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
# What the browser itself logs while a service restarts or refuses; the page handles both.
_EXPECTED = ("net::ERR_", "the server responded with a status of")


class Visit(Protocol):
    """Opens a page that must end without an error."""

    def __call__(self, url: str, **options: Any) -> Page:  # noqa: ANN401 - playwright's own
        """`options` are those of a browser context, such as `color_scheme`."""


# For the tests of one file only: while it runs, this thread has an event loop, and `asyncio.run` of
# other tests would fail.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Chromium, headless. Without it the test is skipped; in CI it fails."""
    binary = shutil.which("chromium") or shutil.which("google-chrome")
    if binary is None:
        if os.environ.get("CI"):
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=binary, args=_OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Browser) -> Iterator[Visit]:
    """Open a page with `visit(url, color_scheme="dark")`; an error in its console fails."""
    troubles: list[str] = []
    contexts = []

    def begin(url: str, **options: Any) -> Page:  # noqa: ANN401
        context = chromium.new_context(
            **{"locale": "en-GB", "timezone_id": "Europe/Berlin", **options}
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on(
            "console",
            lambda message: (
                troubles.append(message.text)
                if message.type in {"error", "warning"}
                and not any(known in message.text for known in _EXPECTED)
                else None
            ),
        )
        page.goto(url)
        return page

    yield begin
    for context in contexts:
        context.close()
    assert troubles == []
