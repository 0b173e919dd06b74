"""The regular work on a host's own files: roll-ups of what has ended, then the expiry."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from verve.archive.format import layout
from verve.archive.format.levels import DAY, HOUR, Level, day_of
from verve.archive.format.manifest import Manifest

from .bounded_time import bounded_time
from .expiry import Keep, expire
from .failures import Failures
from .gone_hosts import expire_gone
from .listing import Listing
from .reentry import reenter
from .roll_up import Host, roll_up_day, roll_up_hour

if TYPE_CHECKING:
    from collections.abc import Collection

    from verve.archive.format.layout import FileName
    from verve.archive.store import ArchiveStore, StoredFile

SETTLED_SECONDS = 120
"""After its end an hour is left alone for so long: its last windows may be on their way."""
GONE_SECONDS = 3_600.0
"""Time between two looks for files of hosts that write no more."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a turn did: the names of the roll-ups and of the files that were deleted."""

    rolled_up: tuple[str, ...]
    deleted: tuple[str, ...]


class Upkeep:
    """Does the work of one host. It remembers which hours it has done, for one process."""

    def __init__(self, store: ArchiveStore, host: Host, keep: Keep) -> None:
        self._store = store
        self._host = host
        self._keep = keep
        self._done: dict[int, frozenset[StoredFile]] = {}
        """By hour: the files of windows that a later turn found in its roll-up."""
        self._days: set[int] = set()
        """Days of hours that were rolled up, whose own roll-up may be missing or old."""
        self._gone_at = -GONE_SECONDS
        self._own: dict[str, bool] = {}
        """By manifest: whether it is one of this host."""

    def turn(self, now: int, pending: Collection[int] = (), *, bounded: bool = False) -> Work:
        """Roll up what has ended by `now` and has none of the `pending` windows (their starts).

        Files expire by `now`, which is `bounded_time` if `bounded`. The first error of a file is
        raised when all other work is done; one of the store at once.
        """
        listing = Listing(self._store, self._host.cluster)
        by_hour: dict[int, set[StoredFile]] = defaultdict(set)
        for one in listing.files(Level.MINUTE):
            by_hour[layout.hour_of_folder(one.name)].add(one)
        for hour in set(self._done) - set(by_hour):
            del self._done[hour]
        waiting = {start - start % HOUR for start in pending}
        failures = Failures()
        own: list[int] = []
        rolled: list[FileName] = []
        for hour in sorted(by_hour):
            files = frozenset(by_hour[hour])
            with failures.deferred():
                if is_own := self._is_own(files):
                    own.append(hour)
                if hour not in waiting and hour + HOUR + SETTLED_SECONDS <= now:
                    rolled += self._roll_up_hour(hour, files, is_own=is_own)
        rolled += self._roll_up_days(now, waiting, failures)
        deleted: list[str] = []
        if self._keep != Keep():
            # Only now the roll-ups are listed: with those that were made in this turn.
            until = bounded_time(listing, self._host.cluster, now) if bounded else now
            with failures.deferred():
                deleted = expire(self._store, self._host, self._keep, until, listing, own, rolled)
            listing.remove(set(deleted))
            with failures.deferred():
                deleted += self._expire_gone(until, listing)
        failures.raise_first()
        return Work(tuple(one.name for one in rolled), tuple(deleted))

    def _roll_up_hour(
        self, hour: int, files: frozenset[StoredFile], *, is_own: bool
    ) -> list[FileName]:
        """Roll up an hour unless an earlier turn found these files in its roll-up."""
        if self._done.get(hour) == files:
            return []
        made = None
        if is_own:
            self._days.add(day_of(hour))
            reenter(self._store, self._host, hour)
            made = roll_up_hour(self._store, self._host, hour)
        if made is None:
            self._done[hour] = files
            return []
        return [made]

    def _roll_up_days(
        self, now: int, waiting: Collection[int], failures: Failures
    ) -> list[FileName]:
        """Roll up days that are over and have none of the `waiting` hours."""
        rolled = []
        for day in sorted(self._days):
            awaited = any(day <= hour < day + DAY for hour in waiting)
            if awaited or day + DAY + SETTLED_SECONDS > now:
                continue
            with failures.deferred():
                # Only after it: a day that failed is tried again in the next turn.
                if made := roll_up_day(self._store, self._host, day):
                    rolled.append(made)
                else:
                    self._days.remove(day)
        return rolled

    def _expire_gone(self, now: int, listing: Listing) -> list[str]:
        """Delete what other hosts have left behind, once in a while."""
        longest = self._keep.longest
        if longest is None or time.monotonic() - self._gone_at < GONE_SECONDS:
            return []
        self._gone_at = time.monotonic()
        return expire_gone(self._store, self._host, longest, now, listing)

    def _is_own(self, files: Collection[StoredFile]) -> bool:
        """Whether this host has windows among these files."""
        for name in (one.name for one in files if layout.manifest_segment(one.name)):
            if name not in self._own:
                manifest = Manifest.from_json(self._store.get(name), name)
                self._own[name] = manifest.host == self._host.host
            if self._own[name]:
                return True
        return False
