"""The time that the expiry believes: a clock that was set years ahead must not delete an archive.

Hosts write a file for each window, also for an empty one. So the newest window says about what time
it is, whatever the clock says.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from verve.archive.errors import DamagedFileError
from verve.archive.format import layout
from verve.archive.format.levels import DAY, HOUR, Level

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .listing import Listing


def bounded_time(listing: Listing, cluster: str, now: int) -> int:
    """The clock's `now`, but at most a day after the newest window that can be believed."""
    newest = believed(hour for level in Level for hour in _hours(listing, cluster, level))
    return now if newest is None else min(now, newest + DAY)


def believed(hours: Iterable[int]) -> int | None:
    """The end of the newest of these hours (their starts) that the clock may be believed; or None.

    Hours that follow a gap of more than a day are believed once they are a day: they may be those
    of a clock that was set ahead, and somebody has that day to set it back.
    """
    runs: list[tuple[int, int]] = []
    for hour in sorted(set(hours)):
        if runs and hour <= runs[-1][1] + DAY:
            runs[-1] = runs[-1][0], hour + HOUR
        else:
            runs.append((hour, hour + HOUR))
    if not runs:
        return None
    begin, end = runs[-1]
    return runs[-2][1] if len(runs) > 1 and end - begin < DAY else end


def _hours(listing: Listing, cluster: str, level: Level) -> Iterator[int]:
    """The hours that files of a level end in. Files of another kind are left out."""
    listed = listing.files(level)
    if level is Level.MINUTE:
        # One name per folder: reading a time takes longer than all else.
        names = {one.name.rpartition("/")[0]: one.name for one in listed}.values()
        for name in names:
            with suppress(DamagedFileError):
                yield layout.hour_of_folder(name)
        return
    for one in listed:
        with suppress(DamagedFileError):
            # A day file says nothing of the day's other hours.
            yield layout.parsed(one.name, cluster, level).end - HOUR
