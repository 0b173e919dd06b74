"""The site of the docs: `make docs`."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.paths import ROOT

if TYPE_CHECKING:
    from pathlib import Path


def build(pages: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """Make the site of these pages, with warnings as errors, as `scripts/docs` does."""
    command = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going"]
    return subprocess.run(
        [*command, "--conf-dir", str(ROOT / "docs"), str(pages), str(site)],
        check=False,
        capture_output=True,
        text=True,
        timeout=280,
    )


@pytest.mark.timeout(300)
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    done = build(ROOT / "docs", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    pages = {path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")}
    assert len(pages) > 15
    for page in pages:
        assert (tmp_path / page.with_suffix(".html")).is_file(), page
    assert "architecture" in (tmp_path / "searchindex.js").read_text()


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("[gone](gone.md)", "gone"),
        ("![gone](gone.svg)", "gone.svg"),
        ("### Too deep", "header"),
    ],
)
def test_a_broken_page_is_refused(tmp_path: Path, text: str, warning: str) -> None:
    pages = tmp_path / "pages"
    pages.mkdir()
    (pages / "index.md").write_text(f"# A page\n\n{text}\n")
    done = build(pages, tmp_path / "site")
    assert done.returncode == 1
    assert warning in done.stderr
