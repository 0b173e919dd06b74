"""What an archive in a folder holds, read by pyarrow and JSON alone."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

if TYPE_CHECKING:
    from pathlib import Path


def windows(root: Path) -> dict[int, dict[str, Any]]:
    """The entries of all manifests by the start of their window; of several hosts, the last."""
    found = {}
    for path in sorted(root.rglob("manifest-*.json")):
        for entry in json.loads(path.read_bytes())["windows"]:
            start = int(datetime.fromisoformat(entry["start"]).timestamp())
            found[start] = entry | {"folder": path.parent}
    return found


def ids(root: Path) -> dict[int, set[int]]:
    """The ids of each window that has a file, checked against its entry."""
    found = {}
    for start, entry in windows(root).items():
        if entry["file"] is not None:
            column = pq.read_table(entry["folder"] / entry["file"], partitioning=None)["id"]
            values = column.to_pylist()
            assert values == sorted(set(values))
            assert len(values) == entry["rows"]
            found[start] = set(values)
    return found


def states(root: Path) -> dict[int, str]:
    """The state of each window."""
    return {start: entry["state"] for start, entry in windows(root).items()}
