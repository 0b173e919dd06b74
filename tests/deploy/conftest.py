"""The image, built once for all tests of a lane."""

from __future__ import annotations

import pytest

from tests.support.container import engine, image


@pytest.fixture(scope="session")
def verve_image() -> image.Image:
    """The image of Verve. Without podman the test is skipped; in CI it fails."""
    engine.require()
    return image.build()
