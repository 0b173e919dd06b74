"""Every command and every snippet of the docs that this machine can run, page by page."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.support.docs.blocks import Block, blocks, commands, pages
from tests.support.docs.session import Session, SnippetError
from tests.support.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOOLS = ("curl", "jq", "redis-cli", "redis-server", "sqlite3")
RUN = {page.relative_to(ROOT).as_posix(): page for page in pages() if blocks(page)}


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with Session(tmp_path) as made:
        yield made


@pytest.mark.parametrize(
    "name", [name for name, page in RUN.items() if any(block.is_run for block in blocks(page))]
)
def test_a_page_does_what_it_says(name: str, session: Session) -> None:
    run = [block for block in blocks(RUN[name]) if block.is_run]
    text = " ".join(block.text for block in run)
    missing = [tool for tool in TOOLS if f"{tool} " in text and shutil.which(tool) is None]
    if missing:
        pytest.skip(f"{name} needs {', '.join(missing)}; hint: install it")
    for block in run:
        session.run(block)


def test_the_tutorial_runs_whole() -> None:
    tutorial = blocks(ROOT / "docs/tutorial.md")
    assert sum(len(commands(block)) for block in tutorial if block.language == "console") > 10
    assert [block.mark for block in tutorial if not block.is_run] == [
        "not run: the test has an environment of its own"
    ]
    # What `make serve` does besides: the test runs what it ends with.
    assert "exec .venv/bin/verve serve" in (ROOT / "scripts/serve").read_text()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("$ echo yes\nno", "`echo yes` ended with 0"),
        ("$ false", "`false` ended with 1"),
    ],
)
def test_what_a_page_says_wrongly_is_found(session: Session, text: str, found: str) -> None:
    with pytest.raises(SnippetError, match=found):
        session.run(Block("page", 1, "console", text, ""))


def test_a_service_that_does_not_start_is_found(session: Session) -> None:
    with pytest.raises(SnippetError, match="is not ready"):
        session.run(Block("page", 1, "console", "$ verve serve --window never", "background"))
