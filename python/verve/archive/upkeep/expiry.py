"""The expiry: each level keeps its files for its own time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from verve.archive.errors import GoneError
from verve.archive.format import layout
from verve.archive.format.levels import DAY, HOUR, Level, day_of, rolls_up
from verve.archive.query.catalogue import Catalogue, open_file
from verve.archive.query.span import Span

from .failures import Failures

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from verve.archive.format.layout import FileName
    from verve.archive.query.catalogue import Record
    from verve.archive.store import ArchiveStore, StoredFile

    from .listing import Listing
    from .roll_up import Host


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """How long the files of each level stay, in seconds after their end; None: for ever.

    A file goes only when a roll-up has what it holds, or when the longest time of all is over.
    Windows that are not rolled up go when the time of their level is over.
    """

    minutes: int | None = None
    hours: int | None = None
    days: int | None = None

    @property
    def longest(self) -> int | None:
        """The longest time; None if a level stays for ever."""
        times = (self.minutes, self.hours, self.days)
        known = [one for one in times if one is not None]
        return max(known) if len(known) == len(times) else None


def expire(  # noqa: PLR0913, PLR0917 - an archive, how long files stay, and what was just done
    store: ArchiveStore,
    host: Host,
    keep: Keep,
    now: int,
    listing: Listing,
    hours: Iterable[int],
    made: Collection[FileName],
) -> list[str]:
    """Delete the host's own files whose time is over; their names. `hours` have its windows.

    What has just been `made` replaces no file yet: forget may be putting an earlier one over it.
    The first error of a file is raised when all others are done.
    """
    fresh = {(one.level, one.start) for one in made}
    failures = Failures()
    deleted: list[str] = []
    if keep.minutes is not None:
        for hour in sorted(hours):
            if hour + HOUR + keep.minutes <= now and (Level.HOUR, hour) not in fresh:
                with failures.deferred():
                    over = _over(hour + HOUR, keep.longest, now)
                    deleted += _expire_hour(store, host, hour, over)
    for level, seconds in ((Level.HOUR, keep.hours), (Level.DAY, keep.days)):
        if seconds is None:
            continue
        for one in listing.files(level):
            with failures.deferred():
                name = layout.parsed(one.name, host.cluster, level)
                if level is Level.HOUR and (Level.DAY, day_of(name.start)) in fresh:
                    continue
                if name.end + seconds <= now and _may_go(store, host, name, one, keep, now):
                    store.delete(one.name)
                    deleted.append(one.name)
    failures.raise_first()
    return deleted


def _expire_hour(store: ArchiveStore, host: Host, hour: int, all_over: bool) -> list[str]:  # noqa: FBT001
    catalogue = Catalogue.read(store, host.cluster, Span(hour, hour + HOUR))
    own = [one for one in catalogue.records if one.host == host.host]
    roll_ups = [one for one in catalogue.roll_ups if one.file.head.host == host.host]
    covered = {name for one in roll_ups for name in one.covers}
    rolled = {entry for one in roll_ups for entry in one.file.head.windows}
    folder = layout.folder_of(host.cluster, Level.MINUTE, hour)

    def may_go(record: Record) -> bool:
        if all_over or not rolls_up(record.entry.length):
            return True
        return record.file in covered if record.file else record.entry in rolled

    # A window without rows has a file, too, which no record of a catalogue names.
    files = {
        folder + one.entry.file: may_go(one)
        for one in own
        if one.segment and one.entry.file and hour <= one.entry.start < hour + HOUR
    }
    deleted = [name for name in files if files[name] and name in catalogue.windows]
    deleted += [
        layout.manifest_name(host.cluster, hour, segment)
        for segment in {one.segment for one in own if one.segment}
        if all(may_go(one) for one in own if one.segment == segment)
    ]
    for name in deleted:
        store.delete(name)
    return deleted


def _may_go(  # noqa: PLR0913, PLR0917 - a file, whose it is, and how long files stay
    store: ArchiveStore, host: Host, name: FileName, stored: StoredFile, keep: Keep, now: int
) -> bool:
    """Whether a roll-up is of the host and no longer needed."""
    try:
        file = open_file(store, name, stored)
    except GoneError:
        return False
    if file.head.host != host.host:
        return False
    if name.level is not Level.HOUR or _over(name.end, keep.longest, now):
        return True
    day = day_of(name.start)
    catalogue = Catalogue.read(store, host.cluster, Span(day, day + DAY))
    covered = {
        known
        for other in catalogue.roll_ups
        if other.file.head.file.level is Level.DAY and other.file.head.host == host.host
        for known in other.file.head.windows
    }
    return set(file.head.windows) <= covered


def _over(end: int, seconds: int | None, now: int) -> bool:
    return seconds is not None and end + seconds <= now
