from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.archive.state import Place

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """An empty place."""
    return Place(tmp_path / "place")
