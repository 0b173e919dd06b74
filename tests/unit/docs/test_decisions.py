from __future__ import annotations

import re

from tests.support.paths import ROOT

DOCS = ROOT / "docs"


def test_every_decision_is_numbered_and_says_what_it_rests_on() -> None:
    _, *sections = (DOCS / "decisions.md").read_text().split("\n## ")
    for number, section in enumerate(sections, 1):
        assert section.startswith(f"{number}. ")
        parts = re.findall(r"^- \*\*(\w+)\*\*: ", section, re.MULTILINE)
        assert parts == ["Status", "Context", "Decision", "Figures"], section
