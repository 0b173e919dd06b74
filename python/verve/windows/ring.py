"""The ring of closed windows in the segment, as those read it who follow it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verve.log import skipped

from .window import Window

if TYPE_CHECKING:
    from collections.abc import Iterable

    from verve._verve import Counter, WindowRecord

RECORDS = 1_440
"""A record less can be read, so that the oldest is never one that is being replaced."""


def windows_after(counter: Counter, cursor: int) -> list[Window]:
    """The published windows of the ring that start after `cursor`, oldest first."""
    published = counter.published()
    if cursor >= published:
        return []
    # Two more than there should be: windows may be published between the calls.
    most = (published - cursor) // counter.window + 2 if cursor else RECORDS
    while True:
        records = counter.closed(min(most, RECORDS))
        # More than that, while this process stood still.
        falls_short = len(records) >= most and records[0].window_start > cursor
        if most >= RECORDS or not falls_short:
            break
        most *= 2
    return sound(record for record in records if record.window_start > cursor)


def sound(records: Iterable[WindowRecord]) -> list[Window]:
    """The windows of these records, but those that are damaged."""
    found = [Window.from_record(record) for record in records]
    for window in found:
        if not window.is_sound:
            skipped.tell("the sealed ring", window.window_start, window)
    return [window for window in found if window.is_sound]
