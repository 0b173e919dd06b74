"""The expiry of files of hosts that write no more: one was renamed, or is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verve.archive.errors import GoneError
from verve.archive.format import layout
from verve.archive.format.levels import DAY, HOUR, Level
from verve.archive.format.manifest import Manifest
from verve.archive.query.catalogue import open_file

from .failures import Failures

if TYPE_CHECKING:
    from collections.abc import Iterable

    from verve.archive.store import ArchiveStore, StoredFile

    from .listing import Listing
    from .roll_up import Host

SILENT_SECONDS = 7 * DAY
"""A host without a manifest for so long writes no more."""


def expire_gone(
    store: ArchiveStore, host: Host, longest: int, now: int, listing: Listing
) -> list[str]:
    """Delete files of other hosts that write no more, `longest` seconds after their end.

    The first error of a file is raised when all others are done.
    """
    failures = Failures()
    over: dict[Level, list[StoredFile]] = {level: [] for level in Level}
    manifests: list[str] = []
    for level in Level:
        for one in listing.files(level):
            if layout.manifest_segment(one.name):
                manifests.append(one.name)
            with failures.deferred():
                if _end(one.name, host.cluster, level) + longest <= now:
                    over[level].append(one)
    deleted: list[str] = []
    if any(over.values()):
        writing = {host.host, *_writing(store, manifests, now)}
        for level, files in over.items():
            deleted += _delete(store, host.cluster, level, files, writing, failures)
    failures.raise_first()
    return deleted


def _delete(  # noqa: PLR0913, PLR0917 - files, and what is known of hosts
    store: ArchiveStore,
    cluster: str,
    level: Level,
    files: Iterable[StoredFile],
    writing: set[str],
    failures: Failures,
) -> list[str]:
    """Delete files of a level whose host is not among those that are `writing`."""
    deleted = []
    # The files come in the order of time: what follows one of a host that writes is its own, too.
    known: set[str] = set()
    for one in files:
        with failures.deferred():
            segment = layout.manifest_segment(one.name)
            segment = segment or layout.parsed(one.name, cluster, level).segment
            if segment in known:
                continue
            try:
                its = _host(store, cluster, level, one)
            except GoneError:
                continue
            if its in writing:
                known.add(segment)
                continue
            store.delete(one.name)
            deleted.append(one.name)
    return deleted


def _writing(store: ArchiveStore, manifests: Iterable[str], now: int) -> set[str]:
    """The hosts of the newest manifest of each segment that wrote one in the last time."""
    newest = {
        layout.manifest_segment(name): name
        for name in sorted(manifests)
        if layout.hour_of_folder(name) + HOUR + SILENT_SECONDS > now
    }
    return {Manifest.from_json(store.get(name), name).host for name in newest.values()}


def _host(store: ArchiveStore, cluster: str, level: Level, stored: StoredFile) -> str:
    if layout.manifest_segment(stored.name):
        return Manifest.from_json(store.get(stored.name), stored.name).host
    return open_file(store, layout.parsed(stored.name, cluster, level), stored).head.host


def _end(name: str, cluster: str, level: Level) -> int:
    """The end of the hour of a file of a window, as the expiry sees it, or of a roll-up."""
    if level is Level.MINUTE:
        return layout.hour_of_folder(name) + HOUR
    return layout.parsed(name, cluster, level).end
