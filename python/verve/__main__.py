"""`python -m verve`."""

from __future__ import annotations

import os
import sys

# Python puts the working directory first for `-m`; from here on nothing is looked for there.
try:
    if sys.path[0] == os.getcwd() and not sys.flags.safe_path:  # noqa: PTH109 - it imports nothing
        del sys.path[0]
except (IndexError, OSError):
    pass

from .commands.entry import main

main()
