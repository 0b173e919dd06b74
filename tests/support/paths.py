"""Where the repository's files are."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The repository."""
NATIVE = Path(__file__).parent / "native"
"""Sources of libraries that tests build and preload."""
