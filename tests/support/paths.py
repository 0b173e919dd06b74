"""Paths of the repository."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The root of the repository."""
NATIVE = Path(__file__).parent / "native"
"""Sources of the libraries that tests build and preload."""


def suites(*names: str) -> list[str]:
    """The paths of files of tests, named from `tests/`; each must exist."""
    paths = [ROOT / "tests" / name for name in names]
    if missing := [str(path) for path in paths if not path.is_file()]:
        raise FileNotFoundError(f"no such tests: {missing}")
    return list(map(str, paths))
