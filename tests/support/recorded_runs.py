"""What the result lines of long runs have in common: simulation, torture, fuzzing and damage."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime

from tests.support.paths import ROOT


def stamp() -> dict[str, str]:
    """The day of a run and the commit that it ran; `unknown` outside a clone."""
    described = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": described.stdout.strip() or "unknown",
    }
