"""The platforms on which Verve runs. Imported first, so it imports nothing of the package."""

from __future__ import annotations

import sys

SUPPORTED = ("linux", "darwin")
"""Values of `sys.platform`; the second is for development."""


def check(platform: str = sys.platform) -> None:
    """Raise `ImportError` on a platform that Verve does not support."""
    if platform not in SUPPORTED:
        raise ImportError(
            f"Verve runs on Linux, and for development on macOS, but not on `{platform}`."
        )
