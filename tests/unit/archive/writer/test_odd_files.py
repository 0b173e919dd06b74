"""The writer: forgotten ids that come again, and files of the spool that cannot be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from tests.support.archive import contents as archived
from tests.support.archive.state import START, Place
from verve.archive.spool.spool import IDS
from verve.archive.spool.spool_file import SpoolFile
from verve.archive.store.folder import FolderStore
from verve.archive.upkeep.forgetting import forget

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def test_a_window_that_comes_after_an_id_was_forgotten_is_without_it(place: Place) -> None:
    store = FolderStore(place.ids)
    path = place.add(0, [7, 8])
    copy = path.read_bytes()
    place.turn()
    forget(store, "", 7, place.spool.directory)
    place.add(1, [7, 9])
    place.add(2, [10])
    store.put("cluster=host/tombstones/notes.txt", b"")
    path.write_bytes(copy)  # as if the writer was killed before it removed that
    place.turn()
    files = {
        path.name[:16]: pq.read_table(path, partitioning=None)["id"].to_pylist()
        for path in place.ids.rglob("level=minute/**/*.parquet")
    }
    assert sorted(files.values()) == [[8], [9], [10]]
    assert set(archived.states(place.ids).values()) == {"archived"}
    assert not list(place.spool.directory.glob("*.building"))


def test_one_file_that_cannot_be_read_does_not_hold_up_others(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [place.add(number, [number]) for number in range(4)]
    real_open, real_pieces = SpoolFile.open, SpoolFile.pieces

    def opened(path: Path) -> SpoolFile:
        if path == paths[0]:
            raise PermissionError(13, "denied")
        return real_open(path)

    def pieces(file: SpoolFile) -> Iterator[bytes]:
        if file.path == paths[2]:
            raise OSError(5, "input/output error")
        return real_pieces(file)

    monkeypatch.setattr(SpoolFile, "open", opened)
    monkeypatch.setattr(SpoolFile, "pieces", pieces)
    with pytest.raises(PermissionError):
        place.turn()
    assert place.spool.files(IDS) == [paths[0], paths[2]]
    monkeypatch.undo()
    place.turn()
    assert archived.ids(place.ids) == {START + 60 * number: {number} for number in range(4)}
