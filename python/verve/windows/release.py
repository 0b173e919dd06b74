"""When the arena of a sealed window is free: once all who need its ids have them."""

from __future__ import annotations

import threading
from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from verve._verve import Counter


class Keeper(Enum):
    """Who needs the ids of sealed windows."""

    CLUSTER = auto()
    """Until Redis or a spill has them."""
    ARCHIVE = auto()
    """Until the spool has them."""


class ArenaRelease:
    """Settles windows in order, up to the last one that no keeper needs. Any thread may call."""

    def __init__(self, counter: Counter, keepers: Collection[Keeper]) -> None:
        self._counter = counter
        self._lock = threading.Lock()
        self._through = dict.fromkeys(keepers, counter.retention.settled())

    def permit(self, keeper: Keeper, window_start: int) -> None:
        """`keeper` needs no ids of the windows up to this one."""
        with self._lock:
            self._through[keeper] = max(self._through[keeper], window_start)
            self._counter.retention.settle(min(self._through.values()))
