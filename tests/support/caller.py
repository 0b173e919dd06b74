"""What the caller's environment tells the tests. What they start sees nothing of it."""

from __future__ import annotations

import os

_SETTINGS = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("VERVE_")}

FULL = _SETTINGS.get("VERVE_FULL") == "1"
"""Whether the tests run at their full counts."""

LOAD = _SETTINGS.get("VERVE_LOAD")
"""A load generator that is built already."""
