"""The fenced blocks of a page, and what the page says about running them.

A comment in the line before a block says how a test takes it:

    <!-- background -->      a command that goes on; the test waits until it is ready
    <!-- again -->           commands that are repeated until they print what the block shows
    <!-- stop -->            the newest command in the background is ended first
    <!-- not run: why -->    no test runs it
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.paths import ROOT

if TYPE_CHECKING:
    from pathlib import Path

_BLOCK = re.compile(
    r"(?:^[ ]*<!--\ (?P<mark>[^\n]*?)\ -->\n(?:[ ]*\n)*)?"
    r"^(?P<indent>[ ]*)(?P<fence>`{3,})(?P<language>[^\n`]*)\n"
    r"(?P<text>(?:.*\n)*?)"
    r"(?P=indent)(?P=fence)$",
    re.MULTILINE | re.VERBOSE,
)
_MARKS = re.compile(r"background|again|stop|not run: .+")


@dataclass(frozen=True, slots=True)
class Block:
    """A block; `mark` is the comment before it, if that is one for tests."""

    page: str
    line: int
    language: str
    text: str
    mark: str

    @property
    def place(self) -> str:
        """Where it stands."""
        return f"{self.page}:{self.line}"

    @property
    def is_run(self) -> bool:
        """Whether a test runs it."""
        return self.language in {"console", "python"} and not self.mark.startswith("not run")


@dataclass(frozen=True, slots=True)
class Command:
    """A command of a block, and the output that the page shows; `...` stands for anything."""

    command: str
    shown: str


def pages() -> list[Path]:
    """README, the page of the package index, and all pages of the docs."""
    return [ROOT / "README.md", ROOT / "python/README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """The blocks of a page in their order."""
    text = page.read_text(encoding="utf-8")
    name = page.relative_to(ROOT).as_posix() if page.is_relative_to(ROOT) else page.name
    return [
        Block(
            name,
            text.count("\n", 0, found.start("fence")) + 1,
            found["language"].strip(),
            textwrap.dedent(found["text"]),
            (found["mark"] or "") if _MARKS.fullmatch(found["mark"] or "") else "",
        )
        for found in _BLOCK.finditer(text)
    ]


def commands(block: Block) -> list[Command]:
    """The commands of a block `console`: lines that begin with `$ `, continued by `> `."""
    found: list[Command] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append(Command(line[2:], ""))
        elif not found:
            raise ValueError(f"output before a command: {block.place}")
        elif line.startswith("> ") and not found[-1].shown:
            found[-1] = Command(f"{found[-1].command}\n{line[2:]}", "")
        else:
            found[-1] = Command(found[-1].command, f"{found[-1].shown}{line}\n")
    return found


def is_shown(shown: str, printed: str) -> bool:
    """Whether a command printed what a page shows. Nothing shown: anything may be printed."""
    if not shown:
        return True
    lines = (
        r"(?:.*\n)*?" if line == "..." else re.escape(line).replace(r"\.\.\.", ".*?") + "\n"
        for line in shown.splitlines()
    )
    return re.fullmatch("".join(lines), printed.replace("\r", "").rstrip("\n") + "\n") is not None
