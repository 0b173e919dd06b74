"""The live page shows the hours and days of an archive, and nothing of one that is not there."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.support.archive import places as archive
from tests.support.service import Server
from verve.archive.format.levels import DAY, HOUR, day_of, hour_of
from verve.archive.store import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from tests.browser.conftest import Visit
    from tests.conftest import Serve


def test_hours_and_days_of_the_archive(serve: Serve, visit: Visit, tmp_path: Path) -> None:
    now = int(time.time())
    store = open_store(tmp_path / "ids")
    starts = {day_of(now) - DAY, hour_of(now) - 2 * HOUR}
    for start in starts:
        archive.put_window(store, tmp_path, start, range(4321))
    service = serve(Server.GRANIAN, workers=1, environment={"VERVE_ARCHIVE": str(tmp_path / "ids")})
    page = visit(service.url("/"))
    for part in ("#hours", "#days"):
        row = page.locator(f"{part} tbody tr", has_text="4,321").first
        expect(row).to_be_visible(timeout=60_000)
        expect(row).to_contain_text("incomplete")


def test_without_an_archive_there_is_no_card(serve: Serve, visit: Visit) -> None:
    service = serve(Server.GRANIAN, workers=1)
    page = visit(service.url("/"))
    page.wait_for_selector("#figures:not([hidden])")
    expect(page.locator("#archive")).to_be_hidden()
