"""The start of the command `verve`: health checks first, since they start it every few seconds."""

from __future__ import annotations

from . import readiness


def main() -> None:
    """Run the command line of this process."""
    status = readiness.main()
    if status is not None:
        raise SystemExit(status)
    from .cli import main as run  # noqa: PLC0415 - imports all that the commands need

    run(prog_name="verve")
