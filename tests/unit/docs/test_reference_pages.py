from __future__ import annotations

import pytest

from scripts.reference import BEGIN, END, FOLDER, PARTS, renewed


@pytest.mark.parametrize("name", PARTS)
def test_the_generated_part_is_current(name: str) -> None:
    page = (FOLDER / name).read_text(encoding="utf-8")
    assert page == renewed(page, PARTS[name]()), "run `make docs ARGS=write`"


def test_every_generated_part_has_a_generator() -> None:
    pages = {path.name for path in FOLDER.glob("*.md") if BEGIN in path.read_text()}
    assert pages == set(PARTS)


def test_only_the_generated_part_is_written() -> None:
    page = f"before\n{BEGIN}old\n{END}after\n"
    assert renewed(page, "new") == f"before\n{BEGIN}\nnew\n\n{END}after\n"
