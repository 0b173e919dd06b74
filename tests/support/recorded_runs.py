"""What the result lines of long runs have in common: simulation, torture, fuzzing and damage."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tests.support.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def record(results: Path, line: Mapping[str, object]) -> None:
    """Add a line to the results of a kind of run, with its stamp first."""
    with results.open("a") as file:
        file.write(json.dumps({**stamp(), **line}) + "\n")


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
