"""What an archive in a folder holds, read by pyarrow and JSON alone."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from tests.support import records

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.service import Service


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


def assert_whole(service: Service, root: Path, sent: records.Records) -> None:
    """Wait for the last window, and hold the archive against what was sent and published."""
    last = sent.windows()[-1]
    service.wait_until(lambda: last in states(root), 90, "archived to the end")
    found = ids(root)
    assert records.differences(sent, {start: list(its) for start, its in found.items()}) == []
    service.wait_minute(max(found), 60)
    counts = {minute.window_start: minute.unique for minute in service.minutes()}
    assert {start: len(its) for start, its in found.items()}.items() <= counts.items()
