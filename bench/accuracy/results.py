"""The raw results: one file for all cases, and one for the speeds."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bench.harness import versions
from bench.report.result import write

if TYPE_CHECKING:
    from pathlib import Path

CASES, SPEED = "cases", "speed"
_SHOWN = ("cpu", "cores", "memory", "kernel", "verve", "go", "gin", "go-redis", "redis")

Samples = dict[str, list[dict[str, Any]]]
"""The rounds by case and contender, joined by a slash; of the speeds, by contender."""


def read(folder: Path, name: str) -> dict[str, Any]:
    """Return the content of a file, or one without samples."""
    path = folder / f"{name}.json"
    if not path.is_file():
        return {"name": name, "samples": {}}
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def renew(folder: Path, name: str, samples: Samples) -> None:
    """Write new samples beside those of other cases that are in the file already."""
    before: Samples = read(folder, name)["samples"]
    folder.mkdir(parents=True, exist_ok=True)
    described = {**versions.description(), **versions.statsd()}
    write(
        folder,
        {
            "name": name,
            "machine": {key: described[key] for key in (*_SHOWN, "statsd", "node")},
            "ended": datetime.now(UTC).isoformat(timespec="seconds"),
            "samples": {**before, **samples},
        },
    )
