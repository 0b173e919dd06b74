"""The caller's settings for the tests, removed from the environment of what the tests start."""

from __future__ import annotations

import os

_SETTINGS = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("VERVE_")}

FULL = _SETTINGS.get("VERVE_FULL") == "1"
"""Whether the tests run with their full counts."""

LOAD = _SETTINGS.get("VERVE_LOAD")
"""The path of a load generator that is already built."""
