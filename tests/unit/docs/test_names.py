"""What the docs name exists: settings, metrics, events; and each page is found from the first."""

from __future__ import annotations

import re

import pytest

from tests.support.docs.blocks import pages
from tests.support.paths import ROOT
from verve import config
from verve.http.metrics import METRICS
from verve.log.event_log import EVENTS

# Variables of the project's scripts.
SCRIPTS = {"VERVE_FULL", "VERVE_PYTHON"}
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in pages()}
# The two logs speak of what is gone. What the guides of `deploy/` name is checked by its own tests.
OTHERS = ("decisions", "found", "container", "kubernetes", "monitoring", "proxies", "systemd")
PAGES = [name for name in TEXTS if not name.endswith(tuple(f"/{one}.md" for one in OTHERS))]


@pytest.mark.parametrize("page", PAGES)
def test_every_setting_and_metric_that_a_page_names_exists(page: str) -> None:
    settings = {row.variable for row in config.TABLE.values()}
    secrets = {f"{row.variable}_FILE" for row in config.TABLE.values() if row.secret}
    named = set(re.findall(r"`(VERVE_[A-Z_]*[A-Z])\b", TEXTS[page]))
    assert named - settings - secrets - SCRIPTS == set()
    metrics = {metric.name for metric in METRICS}
    shown = set(re.findall(r"`(verve_[a-z_]+[a-z])[`{]", TEXTS[page]))
    assert shown - metrics == set()


def test_every_event_that_a_guide_selects_exists() -> None:
    named = re.findall(r'\.event == "([a-z_.]+)"', " ".join(TEXTS.values()))
    assert named
    assert set(named) <= set(EVENTS)


def test_every_concept_and_every_reference_is_on_the_first_page() -> None:
    for folder in ("concepts", "reference"):
        for path in (ROOT / "docs" / folder).glob("*.md"):
            assert f"({folder}/{path.name})" in TEXTS["docs/index.md"], path
