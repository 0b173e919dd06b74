"""Check that a tag names the version that would be released, and print its notes.

    python scripts/release_check.py v1.2.3

The version stands in Cargo.toml, in Cargo.lock for each crate of the workspace, and in the first
section of CHANGELOG.md below an empty `[Unreleased]`. A chart names it as its `appVersion`.
"""

from __future__ import annotations

import re
import sys
import tomllib
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parents[1]
_SECTION = re.compile(r"^## \[([^]]+)\](?: - (\S+))?\n(.*?)(?=^## \[|\Z)", re.DOTALL | re.MULTILINE)
_CHART = re.compile(r"""^appVersion: *["']?([^"'\s]+)""", re.MULTILINE)


class WrongReleaseError(Exception):
    """What has to be mended before the tag can be released."""


def check_version(version: str, root: Path) -> None:
    """Raise `WrongReleaseError` if a file names another version."""
    workspace = tomllib.loads((root / "Cargo.toml").read_text())["workspace"]
    found = {"Cargo.toml": workspace["package"]["version"]}
    for package in tomllib.loads((root / "Cargo.lock").read_text())["package"]:
        if "source" not in package:
            found[f"Cargo.lock, {package['name']}"] = package["version"]
    for chart in root.glob("deploy/**/Chart.yaml"):
        for named in _CHART.findall(chart.read_text()):
            found[str(chart.relative_to(root))] = named
    if others := {place: other for place, other in found.items() if other != version}:
        raise WrongReleaseError(f"the tag is for `{version}`, but there is: {others}")


def notes_of(version: str, root: Path) -> str:
    """The text of the version in the changelog. Raises `WrongReleaseError` if it is not on top."""
    sections = _SECTION.findall((root / "CHANGELOG.md").read_text())
    if len(sections) < 2 or sections[0][0] != "Unreleased":
        raise WrongReleaseError("CHANGELOG.md does not begin with `[Unreleased]`")
    (_, _, unreleased), (newest, day, notes) = sections[:2]
    if unreleased.strip():
        raise WrongReleaseError(f"`[Unreleased]` is not empty: move its text to `[{version}]`")
    if newest != version:
        raise WrongReleaseError(f"the newest section of CHANGELOG.md is `[{newest}]`")
    try:
        date.fromisoformat(day)
    except ValueError:
        raise WrongReleaseError(f"the section `[{version}]` has no date: `{day}`") from None
    if not notes.strip():
        raise WrongReleaseError(f"the section `[{version}]` is empty")
    return f"{notes.strip()}\n"


def main() -> None:
    """Print the notes, or what is wrong."""
    tag = re.fullmatch(r"v(\d+\.\d+\.\d+)", sys.argv[1])
    if tag is None:
        sys.exit(f"error: a tag is `v` and a version: `{sys.argv[1]}`")
    try:
        check_version(tag[1], ROOT)
        print(notes_of(tag[1], ROOT), end="")
    except WrongReleaseError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
