"""`python -m verve`."""

from __future__ import annotations

from .commands.cli import main

main(prog_name="verve")
