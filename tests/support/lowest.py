"""The lowest versions of Verve's dependencies in `pyproject.toml`, and an installation of them."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from tests.support.paths import ROOT

_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(\[[a-z,]+\])?(.*)")
_LOWEST = re.compile(r">=\s*([0-9][0-9.]*)")


def _project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def lowest() -> dict[str, str]:
    """The lowest version of each dependency of the wheel and its extras."""
    project = _project()["project"]
    extras = project["optional-dependencies"].values()
    found = {}
    for text in [*project["dependencies"], *(one for extra in extras for one in extra)]:
        name, _, versions = _parsed(text)
        if name != project["name"]:
            (found[name],) = _LOWEST.findall(versions)
    return found


def for_tests() -> list[str]:
    """The further requirements of the tests, whose versions do not matter here."""
    group = _project()["dependency-groups"]["test"]
    return [text for text in group if _parsed(text)[0] not in lowest()]


def pins() -> list[str]:
    """A requirement for the lowest version of each dependency."""
    return [f"{name}=={version}" for name, version in lowest().items()]


def pip(python: str | Path, *arguments: str) -> None:
    """Install with pip. The error of a failure contains its output."""
    command = [str(python), "-m", "pip", "install", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"


def beside() -> Path:
    """A directory with the lowest versions only, to be put first in the import path.

    It stays in the virtual environment, so that the packages are downloaded once.
    """
    digest = hashlib.sha256("\n".join(pins()).encode()).hexdigest()[:16]
    directory = Path(sys.prefix) / "lowest" / digest
    if not directory.exists():
        directory.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory.parent) as made:
            pip(sys.executable, "--no-deps", "--target", f"{made}/packages", *pins())
            Path(made, "packages").rename(directory)
    return directory


def _parsed(text: str) -> tuple[str, str, str]:
    found = _REQUIREMENT.fullmatch(text)
    assert found is not None, f"not a requirement: `{text}`"
    name, extras, versions = found.groups(default="")
    return name, extras, versions
