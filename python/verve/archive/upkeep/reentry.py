"""Windows that no manifest names, though their files are there: they are entered again.

A store may carry out the put of a manifest late, after that of a newer one, when its caller has
long given up and put it again. The windows that only the newer one had are then in no manifest.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from verve.archive.errors import GoneError
from verve.archive.format import layout
from verve.archive.format.levels import HOUR, Level
from verve.archive.format.manifest import Manifest, WindowEntry
from verve.archive.query.catalogue import Catalogue, open_file
from verve.archive.query.span import Span

if TYPE_CHECKING:
    from verve.archive.format.id_file import IdFile
    from verve.archive.store import ArchiveStore

    from .roll_up import Host


def reenter(store: ArchiveStore, host: Host, hour: int) -> None:
    """Enter files of the host's windows of an hour that no record names.

    The caller knows that none of them is still on its way.
    """
    catalogue = Catalogue.read(store, host.cluster, Span(hour, hour + HOUR))
    folder = layout.folder_of(host.cluster, Level.MINUTE, hour)
    known = {
        layout.folder_of(host.cluster, Level.MINUTE, one.entry.start) + one.entry.file
        for one in catalogue.records
        if one.entry.file
    }
    for name, stored in catalogue.windows.items():
        if name in known or not name.startswith(folder):
            continue
        file = open_file(store, layout.parsed(name, host.cluster, Level.MINUTE), stored)
        if file.head.host == host.host:
            _enter(store, host, hour, file)


def _enter(store: ArchiveStore, host: Host, hour: int, file: IdFile) -> None:
    name, contents = file.head.file, file.head.promised(file.contents)
    manifest = Manifest(cluster=host.cluster, host=host.host, segment=name.segment, hour=hour)
    with contextlib.suppress(GoneError):
        manifest = Manifest.from_json(store.get(manifest.name), manifest.name)
    # What the cluster said of it is lost.
    entry = WindowEntry.of_file(name, contents.rows, contents.digest, final=not host.in_cluster)
    store.put(manifest.name, manifest.with_window(entry).to_json())
