"""A state directory and an archive, for tests of the writer."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from verve.archive.format.manifest import State
from verve.archive.spool.spool import Spool
from verve.archive.spool.spool_file import SpoolHead
from verve.archive.writer.loop import WriterLoop

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

START = 1_800_000_000 - 1_800_000_000 % 3_600
SEGMENT = "0123456789abcdef"


@dataclass
class Place:
    """A state directory and an archive below `root`."""

    root: Path
    archive: str = ""
    """The URL of a bucket; empty for a folder below `root`."""
    host: str = "web-1"
    segment: str = SEGMENT
    in_cluster: bool = False
    memory: int = 1 << 28
    keep: dict[str, int] = field(default_factory=lambda: {"minutes": 86_400})
    reports: list[dict[str, Any]] = field(default_factory=list)

    @property
    def ids(self) -> Path:
        """The folder of the archive."""
        return self.root / "ids"

    @property
    def spool(self) -> Spool:
        """The spool."""
        (self.root / "state").mkdir(parents=True, exist_ok=True)
        return Spool(self.root / "state", 1 << 40, 0)

    def add(
        self, number: int, ids: Iterable[int] = (), state: State | None = None, seconds: int = 60
    ) -> Path:
        """Put a window into the spool."""
        body = np.fromiter(ids, dtype="<i8")
        head = SpoolHead(
            window_start=START + seconds * number,
            window_seconds=seconds,
            segment=self.segment,
            host=self.host,
            cluster="",
            count=len(body),
            state=state or (State.ARCHIVED if len(body) else State.EMPTY),
            reason="no room" if state is State.DROPPED else None,
        )
        return self.spool.write(head, [body.tobytes()], "t")

    def turn(self, now: int | None = None) -> None:
        """One turn of a new writer, and its upkeep at `now`."""
        options = {
            "archive": self.archive or str(self.ids),
            "state_dir": str(self.root / "state"),
            "spool_max": 1 << 40,
            "reserve": 0,
            "memory": self.memory,
            "keep": self.keep,
            "segment": self.segment,
            "host": self.host,
            "cluster": "",
            "in_cluster": self.in_cluster,
        }
        loop = WriterLoop(options, threading.Event(), lambda **told: self.reports.append(told))
        loop.clean()
        loop.turn()
        if now is not None:
            loop.keep_up(now)
