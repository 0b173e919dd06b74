"""The output of `verve segment show`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from verve._verve import Counter, segment_identity
from verve.timestamps import rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from verve._verve import SegmentIdentity

_IDS_AT_ONCE = 100_000
_WORDS = {True: "yes", False: "no"}


def figures(path: Path) -> dict[str, Any]:
    """The identity of the segment, its arenas, its processes and its current window, by label."""
    found = segment_identity(path)
    shown: dict[str, Any] = {
        "path": path,
        "format": found["format"],
        "alive": _WORDS[found["alive"]],
        "memory": _memory(path),
    }
    if not found["ours"]:
        return shown
    with opened(path, found) as counter:
        stats = counter.stats()
        leader = counter.lease.holder()
        current = counter.current()
        shown |= {
            "identity": found["identity"],
            "window": f"{found['window']} s",
            "cluster": found["cluster"] or "-",
            "state directory": found["state_directory"] or "-",
            "ids per window": f"{counter.max_ids:,}",
            "arenas": ", ".join(f"{n} {state}" for state, n in stats["arenas"].items()),
            "processes": " ".join(str(pid) for pid in stats["processes"] if pid != os.getpid())
            or "-",
            "leader": "-" if leader is None else f"process {leader.process}, term {leader.term}",
            "clock trusted": _WORDS[not stats["clock_distrusted"]],
            "current window": rfc3339(current.window_start),
            "unique": f"{current.unique:,}",
            "requests": f"{current.requests:,}",
            "duplicates": f"{current.duplicates:,}",
            "last published": rfc3339(counter.ring.newest()),
        }
    return shown


def ids(path: Path) -> Iterator[str]:
    """The ids of the current window in any order, one per line; yields at most 100,000 at once."""
    with opened(path, segment_identity(path)) as counter:
        found = counter.ids()
    for start in range(0, len(found), _IDS_AT_ONCE):
        yield "".join(f"{id}\n" for id in found[start : start + _IDS_AT_ONCE])


def opened(path: Path, found: SegmentIdentity) -> Counter:
    """A counter on the segment that was found at `path`."""
    return Counter(
        path,
        window=None,
        cluster=found["cluster"],
        state_directory=found["state_directory"],
    )


def _memory(path: Path) -> str:
    try:
        return f"{path.stat().st_blocks * 512:,} bytes"
    except FileNotFoundError:
        return "the file was removed; processes still count in the segment"
