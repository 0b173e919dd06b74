"""What the archive has of a span: the records of windows, and the files that hold their ids."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

from verve.archive.errors import DamagedFileError
from verve.archive.format import layout
from verve.archive.format.id_file import IdFile
from verve.archive.format.levels import DAY, Level, day_of
from verve.archive.format.manifest import Manifest, State, WindowEntry, opened

from .span import By

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from verve.archive.format.head import Input
    from verve.archive.format.layout import FileName
    from verve.archive.store import ArchiveStore, StoredFile

    from .span import Span

THREADS = 8
"""Requests to an object store at once, while footers and manifests are read."""
MOST_DAYS = 64
"""Days whose folders are listed one by one."""
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Record:
    """What a host noted of a window."""

    host: str
    segment: str | None
    """None: only a roll-up still has the record."""
    entry: WindowEntry
    file: str | None
    """The whole name of the window's file."""

    @property
    def writer(self) -> str | None:
        """The segment that counted the window; None: a roll-up alone has it, of no file."""
        return self.segment or self.entry.segment


@dataclass(frozen=True, slots=True)
class RollUp:
    """An hour file or a day file, and the windows' files that went into it."""

    file: IdFile
    covers: frozenset[str]
    hours: dict[int, Input] = field(default_factory=dict)
    """Of a day file, by hour: the one hour file that it has of that hour, hence its ids."""

    @property
    def start(self) -> int:
        """The start of its span."""
        return self.file.head.file.start

    @property
    def end(self) -> int:
        """The end of its span."""
        return self.file.head.file.end


@dataclass(slots=True)
class Catalogue:
    """The part of an archive that concerns a span."""

    cluster: str
    records: list[Record] = field(default_factory=list)
    windows: dict[str, StoredFile] = field(default_factory=dict)
    roll_ups: list[RollUp] = field(default_factory=list)
    forgotten: list[int] = field(default_factory=list)
    hosts: dict[str, str] = field(default_factory=dict)
    """By segment: its host, for all segments that were read of."""
    counted_hours: set[int] = field(default_factory=set)
    """Hours whose only file was not opened, since a day file says how many ids it has."""
    _by_host: dict[str, list[RollUp]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def read(  # noqa: PLR0913 - an archive, a span, and what is asked of it
        cls,
        store: ArchiveStore,
        cluster: str,
        span: Span,
        *,
        check: Callable[[], object] = lambda: None,
        for_query: bool = False,
        by: By | None = None,
    ) -> Catalogue:
        """Read manifests and footers. Raises `DamagedFileError` for a foreign or damaged file.

        `check` is called before each file and raises to end it. What answers a query that is
        divided `by` needs not all files: no hours of which a day file in the span has all, if no
        part of a day is asked for, and none that a day file counts.
        """

        def listing(folder: tuple[Level, str]) -> tuple[Level, list[StoredFile]]:
            check()
            return folder[0], store.list(folder[1], check)

        def manifest(name: str) -> Manifest:
            check()
            return Manifest.from_json(store.get(name), name)

        def opened_roll_up(pair: tuple[FileName, StoredFile]) -> IdFile:
            check()
            return open_file(store, *pair)

        found = cls(cluster)
        with ThreadPoolExecutor(THREADS) as pool:
            listed = list(pool.map(listing, _folders(cluster, span)))
            found.forgotten = forgotten_ids(store, cluster, pool)
            manifests, roll_ups = found._sort_out(listed, span)
            found._take_manifests(pool.map(manifest, manifests), span)
            days = [pair for pair in roll_ups if pair[0].level is Level.DAY]
            files = list(pool.map(opened_roll_up, days))
            by_hour = {one.name: hour_inputs(one, cluster) for one in files}
            taken: set[tuple[str, int]] = set()
            if for_query and by in {None, By.DAY}:
                taken = _inputs(files, span)
            elif for_query and by is By.HOUR and not found.forgotten:
                taken = _counted(by_hour.values(), roll_ups, span)
                found.counted_hours = {
                    name.start for name, stored in roll_ups if (stored.name, stored.size) in taken
                }
            hours = [
                (name, stored)
                for name, stored in roll_ups
                if name.level is Level.HOUR and (stored.name, stored.size) not in taken
            ]
            found._take_roll_ups([*pool.map(opened_roll_up, hours), *files], by_hour, span)
        return found

    def _sort_out(
        self, listed: Iterable[tuple[Level, list[StoredFile]]], span: Span
    ) -> tuple[list[str], list[tuple[FileName, StoredFile]]]:
        manifests, roll_ups = [], []
        for level, files in listed:
            for one in files:
                if level is Level.MINUTE and layout.manifest_segment(one.name):
                    hour = layout.hour_of_folder(one.name)
                    # A window may be longer than an hour.
                    if hour < span.until and hour + DAY > span.since:
                        manifests.append(one.name)
                    continue
                name = layout.parsed(one.name, self.cluster, level)
                if level is Level.MINUTE:
                    self.windows[one.name] = one
                elif name.start < span.until and name.end > span.since:
                    roll_ups.append((name, one))
        return manifests, roll_ups

    def _take_manifests(self, manifests: Iterable[Manifest], span: Span) -> None:
        for one in manifests:
            if one.cluster != self.cluster:
                raise DamagedFileError("a manifest is of another cluster", one.name)
            self.hosts[one.segment] = one.host
            self.records += [
                Record(one.host, one.segment, entry, window_file(self.cluster, entry))
                for entry in one.windows
                if entry.start < span.until and entry.end > span.since
            ]

    def roll_ups_of(self, host: str, span: Span) -> list[RollUp]:
        """The roll-ups of a host that may concern a part of the span."""
        if not self._by_host:
            for one in sorted(self.roll_ups, key=lambda one: one.start):
                self._by_host[one.file.head.host].append(one)
        own = self._by_host.get(host, [])
        # None is longer than a day.
        first = bisect_left(own, span.since - DAY, key=lambda one: one.start)
        return own[first : bisect_left(own, span.until, key=lambda one: one.start)]

    def _take_roll_ups(
        self, files: Sequence[IdFile], by_hour: dict[str, dict[int, Input]], span: Span
    ) -> None:
        noted = {(one.host, one.entry.start, one.entry.length) for one in self.records}
        names = {one.file for one in self.records}
        for file in files:
            host = file.head.host
            self.hosts[file.head.file.segment] = host
            for one in file.head.inputs:
                if segment := layout.segment_of(one.name.rpartition("/")[2]):
                    self.hosts[segment] = host
            covers = set()
            for entry in file.head.windows:
                if segment := entry.segment:
                    self.hosts[segment] = host
                name = window_file(self.cluster, entry)
                if name is not None:
                    covers.add(name)
                key = host, entry.start, entry.length
                # A manifest says what became of the window since.
                known = name in names if name is not None else key in noted
                if not known and entry.start < span.until and entry.end > span.since:
                    self.records.append(Record(host, None, entry, name))
                    names.add(name)
            self.roll_ups.append(RollUp(file, frozenset(covers), by_hour.get(file.name, {})))


def _folders(cluster: str, span: Span) -> list[tuple[Level, str]]:
    """The folders to be listed: of each day, or of a level if there would be too many."""
    days = range(day_of(span.since), span.until, DAY)
    if len(days) > MOST_DAYS:
        return [(level, layout.level_folder(cluster, level)) for level in Level]
    return [(level, layout.date_folder(cluster, level, day)) for day in days for level in Level]


def _inputs(days: Iterable[IdFile], span: Span) -> set[tuple[str, int]]:
    """The names and sizes of all that day files have taken up, of days that `span` covers."""
    return {
        (one.name, one.size)
        for day in days
        if span.covers(day.head.file.start, day.head.file.end)
        for one in day.head.inputs
    }


def hour_inputs(day: IdFile, cluster: str) -> dict[int, Input]:
    """By hour: the hour file that went into a day file, where it is the only one of its hour.

    Its rows are then the ids that the day file has of that hour. There is none if an earlier day
    file went into this one, which may have ids of any hour.
    """
    folder = layout.level_folder(cluster, Level.HOUR)
    if not all(one.name.startswith(folder) for one in day.head.inputs):
        return {}
    found: dict[int, list[Input]] = defaultdict(list)
    for one in day.head.inputs:
        found[layout.parsed(one.name, cluster, Level.HOUR).start].append(one)
    return {hour: inputs[0] for hour, inputs in found.items() if len(inputs) == 1}


def _counted(
    days: Iterable[dict[int, Input]], roll_ups: Iterable[tuple[FileName, StoredFile]], span: Span
) -> set[tuple[str, int]]:
    """The names and sizes of hour files in `span`, alone in their hour, that `days` count."""
    found: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for name, stored in roll_ups:
        if name.level is Level.HOUR and span.covers(name.start, name.end):
            found[name.start].append((stored.name, stored.size))
    alone = {files[0] for files in found.values() if len(files) == 1}
    return alone & {(one.name, one.size) for hours in days for one in hours.values()}


def open_file(store: ArchiveStore, name: FileName, stored: StoredFile) -> IdFile:
    """Open a file of ids."""
    return IdFile.open(name, stored.size, lambda ranges: store.get_ranges(stored.name, ranges))


def window_file(cluster: str, entry: WindowEntry) -> str | None:
    """The whole name of the file of a window; None if it has none or no rows."""
    if entry.state is not State.ARCHIVED or entry.file is None or entry.rows == 0:
        return None
    return layout.folder_of(cluster, Level.MINUTE, entry.start) + entry.file


def forgotten_ids(store: ArchiveStore, cluster: str, pool: ThreadPoolExecutor) -> list[int]:
    """The ids that have a tombstone, in order."""
    names = [one.name for one in store.list(layout.tombstone_folder(cluster))]
    return sorted(pool.map(lambda name: _tombstone(store, name), names))


def mapped(call: Callable[[T], R], values: Iterable[T]) -> list[R]:
    """Call for each value, several at once; in order."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(call, values))


def _tombstone(store: ArchiveStore, name: str) -> int:
    found = layout.tombstone_id(name)
    if opened(store.get(name), name).get("id") != found:
        raise DamagedFileError("a tombstone is not where it belongs", name)
    return found


def hosts_of(records: Iterable[Record]) -> list[str]:
    """The hosts of records, in order."""
    return sorted({one.host for one in records})


def expected_segments(records: Iterable[Record]) -> set[str]:
    """The segments that a cluster had registered, as far as records name them."""
    return set(chain.from_iterable(one.entry.hosts or () for one in records))
