"""The recipes of the docs for other tools, on the files of an archive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.archive import places as archive
from tests.support.docs.blocks import blocks
from tests.support.paths import ROOT
from verve.archive.store import open_store
from verve.archive.upkeep.roll_up import Host, roll_up_hour

if TYPE_CHECKING:
    from pathlib import Path

HOUR = 1_796_040_000  # 2026-11-30T12:00:00Z
RECIPES = [
    block
    for block in blocks(ROOT / "docs/guides/archive-queries.md")
    if block.mark == "not run: tests of recipes run it"
]


def test_there_is_a_recipe_for_each_tool() -> None:
    texts = [one.text for one in RECIPES]
    assert len(texts) == 4
    for tool in ("duckdb", "polars", "pandas"):
        assert any(f"import {tool}" in text for text in texts)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda block: block.place)
@pytest.mark.filterwarnings("ignore")
def test_a_recipe_counts_as_verve_does(
    recipe: Any,  # noqa: ANN401 - a block
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = open_store(tmp_path / "ids")
    for number in range(5):
        ids = range(-700 + 500 * number, 300 + 500 * number)
        archive.put_window(store, tmp_path, HOUR + 60 * number, ids)
    assert roll_up_hour(store, Host(cluster="", host="one", segment="one0", scratch=tmp_path), HOUR)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(recipe.text, recipe.place, "exec"), names)  # noqa: S102 - it is what is tested
    # In the first two windows, or in all five.
    assert names["count"] == (1500 if "minutes & 3" in recipe.text else 3000)
