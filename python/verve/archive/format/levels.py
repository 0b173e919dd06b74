"""The levels of the archive: a file per window, then per hour, then per day."""

from __future__ import annotations

from enum import StrEnum

HOUR = 3_600
DAY = 86_400
BITS = 64
"""Most windows of an hour: an hour file keeps the windows of an id in 64 bits."""


class Level(StrEnum):
    """What a file covers. A higher level is made of the files of the level below it."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"

    @property
    def parts(self) -> str | None:
        """The column that says in which parts of the span an id was, as bits; None: there is none.

        An hour file has the windows of the hour, a day file the hours of the day.
        """
        return {Level.MINUTE: None, Level.HOUR: "minutes", Level.DAY: "hours"}[self]

    @property
    def seconds(self) -> int | None:
        """The length of a file's span; None: that of a window."""
        return {Level.MINUTE: None, Level.HOUR: HOUR, Level.DAY: DAY}[self]


def hour_of(start: int) -> int:
    """The start of the hour that contains `start`; all in seconds since the epoch."""
    return start - start % HOUR


def day_of(start: int) -> int:
    """The start of the day that contains `start`."""
    return start - start % DAY


def rolls_up(length: int) -> bool:
    """Whether windows of `length` seconds are rolled up: they fill an hour, and fit into bits."""
    return HOUR % length == 0 and HOUR // length <= BITS
