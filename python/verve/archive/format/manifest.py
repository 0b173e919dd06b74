"""The manifest of a segment and an hour: the state of each of its windows.

One JSON file, written anew as a whole. `checksum` is that of the rest of it, so that a damaged
manifest is an error and never a wrong state.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from verve.archive.errors import ArchiveError, DamagedFileError
from verve.timestamps import rfc3339

from . import layout

FORMAT = 1


class State(StrEnum):
    """What became of the ids of a window."""

    ARCHIVED = "archived"
    """They are in a file."""
    EMPTY = "empty"
    """The window had none. Its file has no rows."""
    GAP = "gap"
    """No process ran, or the clock was set forward."""
    LOST = "lost"
    """They are gone, for example with the segment."""
    DROPPED = "dropped"
    """There was no room for them."""

    @property
    def is_whole(self) -> bool:
        """Whether all ids of the window are in the archive."""
        return self in {State.ARCHIVED, State.EMPTY}


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowEntry:
    """One window of a host. `start` is in seconds since the epoch.

    `file` is a name within the folder of the manifest, `digest` that of its ids. In a cluster,
    `hosts` are the registered hosts, `cluster_count` is the count of all of them, and `final` says
    that it does not change any more; without one, `hosts` and `cluster_count` are None.
    """

    start: int
    length: int
    state: State
    rows: int = 0
    digest: str | None = None
    file: str | None = None
    reason: str | None = None
    hosts: tuple[str, ...] | None = None
    cluster_count: int | None = None
    final: bool = True

    @property
    def end(self) -> int:
        """The end of the window."""
        return self.start + self.length

    @property
    def segment(self) -> str | None:
        """The segment in the name of the file; None if the window has no file."""
        return layout.segment_of(self.file) if self.file else None

    @classmethod
    def of_file(cls, name: layout.FileName, rows: int, digest: str, *, final: bool) -> Self:
        """The entry of a window whose ids are in a file of `rows` ids."""
        return cls(
            start=name.start,
            length=name.length,
            state=State.ARCHIVED if rows else State.EMPTY,
            rows=rows,
            digest=digest,
            file=name.name.rpartition("/")[2],
            final=final,
        )

    def plain(self) -> dict[str, Any]:
        """The values for JSON."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {
            **values,
            "start": rfc3339(self.start),
            "state": str(self.state),
            "hosts": None if self.hosts is None else list(self.hosts),
        }

    @classmethod
    def of(cls, values: dict[str, Any]) -> Self:
        """Read what `plain` gave. Raises `ValueError`, `TypeError` and `KeyError`."""
        hosts = values["hosts"]
        return cls(
            **{
                **values,
                "start": seconds(values["start"]),
                "length": _natural(values["length"]),
                "rows": _natural(values["rows"]),
                "state": State(values["state"]),
                "hosts": None if hosts is None else tuple(hosts),
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The windows of one segment that start in one hour, in order of their start."""

    cluster: str
    host: str
    segment: str
    hour: int
    windows: tuple[WindowEntry, ...] = field(default=())

    @property
    def name(self) -> str:
        """The name below the archive's root."""
        return layout.manifest_name(self.cluster, self.hour, self.segment)

    def with_window(self, entry: WindowEntry) -> Self:
        """The manifest with this window, in place of the same window if it has it."""
        others = [one for one in self.windows if (one.start, one.length) != _key(entry)]
        return replace(self, windows=tuple(sorted([*others, entry], key=_key)))

    def to_json(self) -> bytes:
        """The file of the manifest."""
        values = {
            "format": FORMAT,
            "cluster": self.cluster,
            "host": self.host,
            "segment": self.segment,
            "hour": rfc3339(self.hour),
            "windows": [one.plain() for one in self.windows],
        }
        return sealed(values)

    @classmethod
    def from_json(cls, data: bytes, name: str) -> Self:
        """Read the file called `name`. Raises `DamagedFileError`, and `ArchiveError` if newer."""
        values = opened(data, name)
        try:
            found = cls(
                cluster=str(values["cluster"]),
                host=str(values["host"]),
                segment=str(values["segment"]),
                hour=seconds(values["hour"]),
                windows=tuple(WindowEntry.of(one) for one in values["windows"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedFileError("a manifest makes no sense", name) from error
        if found.name != name:
            raise DamagedFileError("a manifest is not where it belongs", name)
        return found


def sealed(values: dict[str, Any]) -> bytes:
    """`values` as JSON with a checksum."""
    text = _canonical(values)
    return _canonical({**values, "checksum": zlib.crc32(text)}) + b"\n"


def opened(data: bytes, name: str) -> dict[str, Any]:
    """What `sealed` gave. Raises `DamagedFileError`, and `ArchiveError` if it is newer."""
    values: dict[str, Any] = {}
    try:
        values = json.loads(data)
        checksum = values.pop("checksum")
        # Any difference is damage, also one that JSON does not tell, such as a space.
        sound = sealed(values) == data and checksum == zlib.crc32(_canonical(values))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        sound = False
    if not sound:
        raise DamagedFileError("a file of the archive is damaged", name)
    if values.get("format") != FORMAT:
        raise ArchiveError(
            f"a newer Verve wrote a file of the archive, in format {values.get('format')}: "
            f"`{name}`; hint: pip install --upgrade verve-counter"
        )
    return values


def seconds(text: str) -> int:
    """The seconds since the epoch of a time such as `2026-11-30T12:00:00Z`."""
    found = int(datetime.fromisoformat(text).timestamp())
    if found < 0 or rfc3339(found) != text:
        raise ValueError(text)
    return found


def _canonical(values: dict[str, Any]) -> bytes:
    return json.dumps(values, sort_keys=True, separators=(",", ":")).encode()


def _key(entry: WindowEntry) -> tuple[int, int]:
    return entry.start, entry.length


def _natural(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError(value)
    return value
