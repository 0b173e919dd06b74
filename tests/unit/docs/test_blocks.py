"""The blocks of the docs that no test runs are linted; the parser of blocks."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.support.docs.blocks import Block, Command, blocks, commands, is_shown, pages
from tests.support.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable


def _json(text: str) -> None:
    json.loads(text)


def _toml(text: str) -> None:
    tomllib.loads(text)


def _yaml(text: str) -> None:
    list(yaml.safe_load_all(text))


def _python(text: str) -> None:
    compile(text, "block", "exec")


def _shell(text: str) -> None:
    done = subprocess.run(
        [
            Path(sys.executable).parent / "shellcheck",
            "--shell=bash",
            "--severity=warning",
            "--exclude=SC2034,SC2154",
            "-",
        ],
        input=text,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def _console(text: str) -> None:
    for one in commands(Block("page", 1, "console", text, "")):
        _shell(one.command)


LINTS: dict[str, Callable[[str], None]] = {
    "bash": _shell,
    "console": _console,
    "json": _json,
    "python": _python,
    "sh": _shell,
    "toml": _toml,
    "yaml": _yaml,
}
# Excerpts and configurations of other programs, whose own tests run them.
UNLINTED = {"dockerfile", "haproxy", "http", "ini", "nginx", "promql", "sql", "text"}
FOUND = [block for page in pages() for block in blocks(page)]


@pytest.mark.parametrize("block", FOUND, ids=lambda block: block.place)
def test_a_block_is_well_formed(block: Block) -> None:
    assert block.language in {*LINTS, *UNLINTED}, f"name the language: {block.place}"
    if block.language in LINTS:
        LINTS[block.language](block.text)


def test_every_block_is_found() -> None:
    lines = [line for page in pages() for line in page.read_text(encoding="utf-8").splitlines()]
    fences = sum(line.lstrip().startswith("```") for line in lines)
    assert fences == 2 * len(FOUND)
    assert sum(block.is_run for block in FOUND) > 15


def test_the_parts_of_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# Page\n\n<!-- again -->\n```console\n$ one\n> two\nshown\n$ three\n```\n\n"
        "- item\n\n  ```sh\n  four\n  ```\n\n<!-- not run: why -->\n\n```python\nfive\n```\n"
    )
    first, second, third = blocks(page)
    assert (first.mark, first.line, first.is_run) == ("again", 4, True)
    assert commands(first) == [Command("one\ntwo", "shown\n"), Command("three", "")]
    assert (second.language, second.text, second.mark, second.is_run) == ("sh", "four\n", "", False)
    assert (third.is_run, third.mark) == (False, "not run: why")


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("", "anything", True),
        ("ok\n", "ok", True),
        ("ok\n", "ok\nmore", False),
        ("a ... c\n", "a b c\n", True),
        ("a ... c\n", "a b\nc\n", False),
        ("a\n...\nc\n", "a\nb\nb\nc\n", True),
        ("a\n...\n", "a\n", True),
        ("...\nc\n", "a\nb\n", False),
        ("a.c\n", "abc\n", False),
        ("HTTP\n", "HTTP\r\n", True),
    ],
)
def test_what_is_shown_is_printed(shown: str, printed: str, *, same: bool) -> None:
    assert is_shown(shown, printed) is same


@pytest.mark.parametrize(
    ("language", "text"),
    [("sh", "if true"), ("json", "{"), ("yaml", "a: b: c"), ("toml", "a"), ("python", "a b")],
)
def test_a_broken_block_is_refused(language: str, text: str) -> None:
    with pytest.raises((AssertionError, ValueError, SyntaxError, yaml.YAMLError)):
        LINTS[language](text)


def test_no_page_is_longer_than_one_idea_takes() -> None:
    # Two logs of one entry after the other, and a table that is made from the code.
    logs = {"decisions.md", "found.md"}
    lengths = {
        page.relative_to(ROOT).as_posix(): len(page.read_text().splitlines())
        for page in pages()
        if page.name not in logs
    }
    assert {name: lines for name, lines in lengths.items() if lines > 400} == {}
