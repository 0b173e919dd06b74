"""Reads the sealed windows after a cursor from the ring of the segment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verve._verve import RING_RECORDS
from verve.log import skipped

from .window import Window

if TYPE_CHECKING:
    from collections.abc import Iterable

    from verve._verve import Counter, WindowRecord


def windows_after(counter: Counter, cursor: int) -> list[Window]:
    """Return the sealed windows of the ring that start after `cursor`, oldest first."""
    published = counter.ring.newest()
    if cursor >= published:
        return []
    # Two more than expected, because windows may be sealed between the calls.
    most = (published - cursor) // counter.window + 2 if cursor else RING_RECORDS
    while True:
        records = counter.closed(min(most, RING_RECORDS))
        # More windows were sealed between the calls, for example while this process was stopped.
        falls_short = len(records) >= most and records[0].window_start > cursor
        if most >= RING_RECORDS or not falls_short:
            break
        most *= 2
    return sound(record for record in records if record.window_start > cursor)


def sound(records: Iterable[WindowRecord]) -> list[Window]:
    """Return the windows of these records, and report and skip the damaged ones."""
    found = [Window.from_record(record) for record in records]
    for window in found:
        if not window.is_sound:
            skipped.tell("the sealed ring", window.window_start, window)
    return [window for window in found if window.is_sound]
