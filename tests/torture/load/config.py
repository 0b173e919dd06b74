"""What a sender sends, and where to."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Config:
    """The arguments of a sender, as a file of JSON."""

    seed: int
    window: int
    hosts: dict[str, int]
    """Names and ports of the hosts."""
    proxy: int
    """The port of the proxy in front of them."""
    receiver: int
    """The port at which the sender receives callbacks."""
    singles: int
    """Connections that send accepts of one id."""
    batches: int
    """Connections that send batches."""
    batch_size: int
    """Ids of a batch that was never sent."""
    singles_rate: int
    """Most accepts of one id per second; 0: as many as there is time for."""
    batch_rate: int
    """Most batches per second; 0: as many as there is time for."""
    out: str
    """The file for what it saw."""
    ahead: float
    """Seconds by which the windows of hosts may be ahead of the time, if their clocks are set."""
    behind: float
    """Seconds by which they may be behind it."""

    def save(self, path: Path) -> None:
        """Write the file."""
        path.write_text(json.dumps(asdict(self)))


def load(path: Path) -> Config:
    """Read the file."""
    return Config(**json.loads(path.read_text()))
