"""The table of `docs/internals/cluster.md`: a function, a model function and a test per rule."""

from __future__ import annotations

import re

from tests.support.paths import ROOT

TEXT = (ROOT / "docs/internals/cluster.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.splitlines()
    if re.match(r"\| \d+ \|", line)
]


def test_every_rule_has_a_row() -> None:
    rules = re.findall(r"^### (\d+)\. ", TEXT, re.MULTILINE)
    assert [row[0] for row in ROWS] == rules
    assert len(rules) == 11


def test_the_functions_exist() -> None:
    for _, functions, _, _ in ROWS:
        for path, name in re.findall(r"`(\S+\.py)`: `(\S+)`", functions):
            code = (ROOT / "python/verve/cluster" / path).read_text()
            for part in name.split("."):
                assert re.search(rf"\b(class|def) {part}\b", code), f"{path}: {name}"
        assert functions.startswith("`")


def test_the_functions_of_the_model_exist() -> None:
    code = "\n".join(path.read_text() for path in (ROOT / "rust/protocol/src").glob("*.rs"))
    for _, _, functions, _ in ROWS:
        for kind, name in re.findall(r"`(\w+)::(\w+)`", functions):
            assert re.search(rf"\bimpl {kind}\b", code), kind
            assert re.search(rf"\bfn {name}\b", code), name


def test_the_tests_exist() -> None:
    for *_, tests in ROWS:
        paths = re.findall(r"`(\S+\.py)`", tests)
        assert paths
        for path in paths:
            assert (ROOT / "tests" / path).is_file(), path
