"""The names of the archive's files.

    cluster=<name>/level=minute/date=2026-11-30/hour=12/20261130T124500Z-60s-<segment>.parquet
    cluster=<name>/level=minute/date=2026-11-30/hour=12/manifest-<segment>.json
    cluster=<name>/level=hour/date=2026-11-30/hour=12/20261130T120000Z-3600s-<segment>.parquet
    cluster=<name>/level=day/date=2026-11-30/20261130T000000Z-86400s-<segment>.parquet
    cluster=<name>/tombstones/<id>.json

`key=value` is what DuckDB, Polars and Spark read as columns. A host without a cluster writes
`cluster=host`. A name sorts by the time of its window.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from verve.archive.errors import DamagedFileError

from .levels import Level, day_of, hour_of

NO_CLUSTER = "host"
_STAMP = "%Y%m%dT%H%M%SZ"
_FILE = re.compile(r"([0-9]{8}T[0-9]{6}Z)-([1-9][0-9]{0,9})s-([0-9A-Za-z]{1,64})\.parquet")
_MANIFEST = re.compile(r"manifest-([0-9A-Za-z]{1,64})\.json")
_TOMBSTONE = re.compile(r"(-?[0-9]{1,19})\.json")


@dataclass(frozen=True, slots=True, order=True)
class FileName:
    """What the name of a file of ids says. Times are in seconds since the epoch."""

    start: int
    length: int
    segment: str
    level: Level
    cluster: str

    @property
    def end(self) -> int:
        """The end of the span."""
        return self.start + self.length

    @property
    def name(self) -> str:
        """The name below the archive's root."""
        folder = folder_of(self.cluster, self.level, self.start)
        return f"{folder}{_stamp(self.start)}-{self.length}s-{self.segment}.parquet"


def cluster_folder(cluster: str) -> str:
    """The folder of a cluster, `""` for a host without one, ending with a slash."""
    return f"cluster={quote(cluster, safe='') or NO_CLUSTER}/"


def level_folder(cluster: str, level: Level) -> str:
    """The folder of a level, ending with a slash."""
    return f"{cluster_folder(cluster)}level={level}/"


def date_folder(cluster: str, level: Level, start: int) -> str:
    """The folder of the day that contains `start`, ending with a slash."""
    date = datetime.fromtimestamp(day_of(start), tz=UTC).strftime("%Y-%m-%d")
    return f"{level_folder(cluster, level)}date={date}/"


def folder_of(cluster: str, level: Level, start: int) -> str:
    """The folder of a file that starts at `start`, ending with a slash."""
    date = date_folder(cluster, level, start)
    if level is Level.DAY:
        return date
    return f"{date}hour={datetime.fromtimestamp(start, tz=UTC):%H}/"


def manifest_name(cluster: str, hour: int, segment: str) -> str:
    """The name of the manifest of a segment for the hour that starts at `hour`."""
    return f"{folder_of(cluster, Level.MINUTE, hour)}manifest-{segment}.json"


def tombstone_folder(cluster: str) -> str:
    """The folder of the tombstones, ending with a slash."""
    return f"{cluster_folder(cluster)}tombstones/"


def tombstone_name(cluster: str, id: int) -> str:
    """The name of the tombstone of an id."""
    return f"{tombstone_folder(cluster)}{id}.json"


def tombstone_id(name: str) -> int:
    """The id of a tombstone. Raises `DamagedFileError` for any other name."""
    if not (found := _TOMBSTONE.fullmatch(name.rpartition("/")[2])):
        raise DamagedFileError("the archive has a file that is none of its own", name)
    return int(found[1])


def manifest_segment(name: str) -> str | None:
    """The segment of a manifest; None for any other name."""
    found = _MANIFEST.fullmatch(name.rpartition("/")[2])
    return found[1] if found else None


def parsed(name: str, cluster: str, level: Level) -> FileName:
    """What the name of a file of ids says. Raises `DamagedFileError` for any other name."""
    if found := _FILE.fullmatch(name.rpartition("/")[2]):
        try:
            start = int(datetime.strptime(found[1] + "+0000", f"{_STAMP}%z").timestamp())
        except ValueError:
            start = -1
        file = FileName(start, int(found[2]), found[3], level, cluster)
        if start >= 0 and file.name == name and level.seconds in {None, file.length}:
            return file
    raise DamagedFileError("the archive has a file that is none of its own", name)


def segment_of(file: str) -> str | None:
    """The segment whose file of ids has this name within its folder; None for any other name."""
    found = _FILE.fullmatch(file)
    return found[3] if found else None


def hour_of_folder(name: str) -> int:
    """The start of the hour of a manifest's folder. Raises `DamagedFileError` if it has none."""
    found = re.search(r"/date=([0-9]{4}-[0-9]{2}-[0-9]{2})/hour=([0-9]{2})/[^/]*$", name)
    try:
        if found:
            moment = datetime.strptime(f"{found[1]} {found[2]} +0000", "%Y-%m-%d %H %z")
            return hour_of(int(moment.timestamp()))
    except ValueError:
        pass
    raise DamagedFileError("the archive has a file that is none of its own", name)


def _stamp(start: int) -> str:
    return datetime.fromtimestamp(start, tz=UTC).strftime(_STAMP)
