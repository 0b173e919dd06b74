"""Settings of Sphinx, which makes the site of these pages: `make docs`."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_ROOT = Path(__file__).resolve().parent.parent

project = "Verve"
copyright = "The Verve authors"  # noqa: A001 - the name of Sphinx's setting
release = tomllib.loads((_ROOT / "Cargo.toml").read_text(encoding="utf-8"))["workspace"]["package"][
    "version"
]
version = release

extensions = ["myst_parser"]
exclude_patterns = ["_build"]
nitpicky = True
# `[text](page.md#heading)`, as in the repository, up to the third level.
myst_heading_anchors = 3
# The languages of the blocks are checked by the tests of the docs; Sphinx would refuse an excerpt.
suppress_warnings = ["misc.highlighting_failure"]

html_theme = "furo"
html_title = f"Verve {release}"
html_show_sphinx = False
html_copy_source = False


# The navigation of the site. It is not in `index.md`, which lists the pages for its readers.
_PARTS = {
    "": ("tutorial",),
    "Guides": ("guides/*",),
    "Concepts": ("concepts/*", "compatibility"),
    "Reference": ("reference/*", "glossary"),
    "Internals": ("architecture", "internals/*", "decisions", "found"),
}


def _add_navigation(_app: Sphinx, name: str, source: list[str]) -> None:
    """Add the tables of contents to the first page."""
    if name == "index":
        for caption, pages in _PARTS.items():
            options = [":hidden:", ":glob:", ":titlesonly:"]
            if caption:
                options.append(f":caption: {caption}")
            source[0] += "\n".join(["", "```{toctree}", *options, "", *pages, "```", ""])


def _keep_links(app: Sphinx, name: str, source: list[str]) -> None:
    """Give links to pages outside of these, such as `../SAFETY.md`, as files of the site.

    In the repository they are pages. MyST takes other files of the repository anyway, tests for
    example, but looks for a page of the site behind a name that ends in `.md`.
    """
    folder = Path(app.srcdir, name).parent

    def kept(found: re.Match[str]) -> str:
        path = (folder / found["path"]).resolve()
        outside = not path.is_relative_to(app.srcdir) and path.is_file()
        return f"](path:{found['path']})" if outside else found[0]

    source[0] = re.sub(r"\]\((?P<path>[\w./-]+\.md)(?:#[\w-]+)?\)", kept, source[0])


def setup(app: Sphinx) -> None:
    """Take Sphinx's events."""
    app.connect("source-read", _keep_links)
    app.connect("source-read", _add_navigation)
