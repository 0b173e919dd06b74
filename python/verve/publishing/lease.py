"""One term of leadership, and the cursors that the leader moves in the segment."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from verve._verve import Counter


class Cursor(IntEnum):
    """The cursors of the segment: each holds the start of a window."""

    LOG = 0
    LEDGER = 1
    REMOVAL = 2
    """Not of a sink: it is not 0 once the removal of the segment's file was logged."""


class Lease:
    """One term of leadership."""

    def __init__(self, counter: Counter, term: int) -> None:
        self._counter = counter
        self.term = term

    def holds(self) -> bool:
        """Whether this term is still that of the leader."""
        return self._counter.lease.is_current(self.term)
