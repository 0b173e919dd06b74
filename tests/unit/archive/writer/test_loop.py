"""The writer: windows of the spool come into the archive, whatever fails, wherever it is killed."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.support.archive import contents as archived
from tests.support.archive.state import SEGMENT, START, Place
from verve.archive.errors import StoreError
from verve.archive.format.manifest import State
from verve.archive.spool.spool import IDS, NOTE, SpoolName
from verve.archive.spool.spool_file import SpoolFile
from verve.archive.store.folder import FolderStore
from verve.archive.upkeep import upkeep
from verve.archive.writer import sorting

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_CHANGES = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}
_seen: list[Callable[[], None]] = []


def _hook(event: str, _arguments: tuple[object, ...]) -> None:
    if _seen and event in _CHANGES:
        look = _seen.pop()
        try:
            look()
        finally:
            _seen.append(look)


def test_windows_are_archived(place: Place) -> None:
    place.add(0, [5, -7, 2**63 - 1])
    place.add(1)
    place.add(2, state=State.GAP)
    place.add(3, state=State.DROPPED)
    place.add(60, [1])
    place.turn()
    starts = [START + 60 * number for number in (0, 1, 2, 3, 60)]
    assert archived.states(place.ids) == dict(
        zip(starts, ["archived", "empty", "gap", "dropped", "archived"], strict=True)
    )
    assert archived.ids(place.ids) == {
        starts[0]: {5, -7, 2**63 - 1},
        starts[1]: set(),
        starts[4]: {1},
    }
    entries = archived.windows(place.ids)
    assert entries[starts[3]]["reason"] == "no room"
    assert all(entry["final"] for entry in entries.values())
    assert len(list(place.ids.rglob("manifest-*.json"))) == 2
    assert place.spool.files(IDS) == []
    assert [told["archived"] for told in place.reports] == [
        "archived",
        "empty",
        "gap",
        "dropped",
        "archived",
    ]
    left = {path.name for path in place.spool.directory.iterdir()}
    assert left <= {"writer.lock"}
    for path in place.ids.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_the_same_window_again_changes_nothing(place: Place) -> None:
    place.add(0, range(1_000))
    place.turn()
    before = {path: path.read_bytes() for path in place.ids.rglob("*") if path.is_file()}
    place.add(0, reversed(range(1_000)))
    place.add(0, range(1_000))
    place.turn()
    assert {path: path.read_bytes() for path in place.ids.rglob("*") if path.is_file()} == before


def test_what_is_not_kept_does_not_replace_what_is(place: Place) -> None:
    place.add(0, [1])
    place.turn()
    place.add(0, state=State.DROPPED)
    place.turn()
    assert archived.states(place.ids) == {START: "archived"}
    place.add(1, state=State.DROPPED)
    place.turn()
    place.add(1, [2])
    place.turn()
    assert archived.ids(place.ids) == {START: {1}, START + 60: {2}}


def test_more_windows_than_a_manifest_is_written_for_at_once(place: Place) -> None:
    for number in range(150):
        place.add(number, [number], seconds=1)
    place.turn()
    assert archived.ids(place.ids) == {START + number: {number} for number in range(150)}


@pytest.mark.parametrize("kind", ["random", "sequence", "poor sample"])
def test_ids_are_sorted_within_the_memory(
    place: Place, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 500_000
    generator = np.random.default_rng(7)
    if kind == "random":
        ids = np.unique(generator.integers(-(2**63), 2**63 - 1, count))
    else:
        ids = np.arange(-count // 2, count // 2)
    if kind == "poor sample":
        monkeypatch.setattr(sorting, "_bounds", lambda _file, _parts: [-(2**62), 2**62])
    generator.shuffle(ids)
    file = SpoolFile.open(place.add(0, ids))
    pieces = list(sorting.sorted_ids(file, 0))
    assert len(pieces) > 2
    assert max(len(piece) for piece in pieces) <= 2 * 65_536
    assert np.array_equal(np.concatenate(pieces), np.sort(ids))


def test_what_fits_is_sorted_at_once(place: Place) -> None:
    file = SpoolFile.open(place.add(0, [3, 1, 2]))
    assert [piece.tolist() for piece in sorting.sorted_ids(file, 1 << 28)] == [[1, 2, 3]]


def _snapshots(place: Place, into: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Take a turn; the files as a `kill -9` before each change of the file system leaves them."""
    found: list[Path] = []

    def look() -> None:
        copy = into / str(len(found))
        shutil.copytree(place.root, copy, symlinks=True)
        found.append(copy)

    real = os.fsync

    def fsync(descriptor: int) -> None:
        _hook("os.remove", ())
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    _seen.append(look)
    try:
        place.turn()
    finally:
        _seen.clear()
        monkeypatch.undo()
    return found


def test_a_writer_killed_at_each_change_of_a_file(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sys.addaudithook(_hook)
    place.in_cluster = True
    place.add(0, range(100))
    place.turn()
    place.add(1, range(70_000))
    place.add(2, [2])
    place.add(3)
    place.add(60, state=State.DROPPED)
    note = {"cluster": "", "host": "web-1", "hosts": ["a"], "cluster_count": 9, "final": True}
    place.spool.note(SpoolName(START + 60, 60, SEGMENT, 1), note)
    snapshots = _snapshots(place, tmp_path / "snapshots", monkeypatch)
    assert len(snapshots) > 40
    truth = (archived.windows(place.ids), archived.ids(place.ids))
    for snapshot in snapshots:
        again = Place(snapshot, in_cluster=True)
        archived.ids(again.ids)
        again.turn()
        found = {
            start: entry | {"folder": place.ids / entry["folder"].relative_to(again.ids)}
            for start, entry in archived.windows(again.ids).items()
        }
        assert (found, archived.ids(again.ids)) == truth, snapshot
        assert again.spool.files(IDS) == again.spool.files(NOTE) == []
        assert not list(again.spool.directory.glob("*.building")), snapshot
        shutil.rmtree(snapshot)


def test_a_damaged_file_of_the_spool_is_a_lost_window(place: Place) -> None:
    paths = [place.add(number, range(10)) for number in range(3)]
    for path, at in ((paths[0], 20), (paths[1], -20)):
        content = bytearray(path.read_bytes())
        content[at] ^= 1
        path.write_bytes(content)
    place.turn()
    assert archived.states(place.ids) == {
        START: "lost",
        START + 60: "lost",
        START + 120: "archived",
    }
    reason = archived.windows(place.ids)[START]["reason"]
    assert reason == "a file of the spool has a damaged head"
    kept = sorted(path.name for path in place.spool.directory.glob("*.damaged"))
    assert kept == [f"{path.name}.damaged" for path in paths[:2]]
    assert sorted(told["lost"] for told in place.reports if "lost" in told) == [
        f"{path}.damaged" for path in paths[:2]
    ]


def test_a_damaged_manifest_is_made_anew(place: Place) -> None:
    place.add(0, range(10))
    place.add(1)
    place.turn()
    [path] = place.ids.rglob("manifest-*.json")
    sound = path.read_bytes()
    path.write_bytes(sound.replace(b"web-1", b"web-2"))
    place.add(2, [3])
    place.turn()
    assert archived.states(place.ids) == {
        START: "archived",
        START + 60: "empty",
        START + 120: "archived",
    }
    assert any("set_aside" in told for told in place.reports)
    assert [one.read_bytes() for one in place.spool.directory.glob("manifest-*.damaged")] == [
        sound.replace(b"web-1", b"web-2")
    ]


def _away(*_: object) -> None:
    raise StoreError("away")


def test_a_store_that_fails_delays(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.add(0, [1])
    real, left = FolderStore.put, iter([StoreError("away"), None, StoreError("away"), None, None])

    def put(store: FolderStore, name: str, data: bytes | Path) -> None:
        real(store, name, data)
        if error := next(left, None):
            raise error  # the reply was lost

    monkeypatch.setattr(FolderStore, "put", put)
    for _ in range(2):
        with pytest.raises(StoreError):
            place.turn()
        assert len(place.spool.files(IDS)) == 1
    place.turn()
    assert archived.ids(place.ids) == {START: {1}}
    assert place.spool.files(IDS) == []


def test_one_window_that_fails_does_not_hold_up_others(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.add(0, [1])
    place.add(60, [2])
    real = sorting._at_once

    def odd(file: SpoolFile) -> Any:  # noqa: ANN401 - an array
        if file.head.window_start == START:
            raise MemoryError
        return real(file)

    monkeypatch.setattr(sorting, "_at_once", odd)
    with pytest.raises(MemoryError):
        place.turn()
    assert archived.ids(place.ids) == {START + 3_600: {2}}
    assert len(place.spool.files(IDS)) == 1


def test_hours_are_rolled_up_and_old_minutes_go(place: Place) -> None:
    for number in range(3):
        place.add(number, range(number, 100 + number))
    place.turn(now=START + 3_600)
    assert not list(place.ids.rglob("level=hour/**/*.parquet")), "the hour may get more"
    place.turn(now=START + 4_000)
    [hour] = place.ids.rglob("level=hour/**/*.parquet")
    assert pq.read_table(hour, partitioning=None)["id"].to_pylist() == list(range(102))
    assert len(list(place.ids.rglob("level=minute/**/*.parquet"))) == 3
    place.turn(now=START + 3_600 + 86_400)
    assert not list(place.ids.rglob("level=minute/**/*.parquet"))
    assert hour.exists()
    kept_up = [told["kept_up"] for told in place.reports if "kept_up" in told]
    assert kept_up == [START + 3_600, START + 4_000, START + 3_600 + 86_400]


def test_roll_ups_that_fail_are_not_reported_as_done(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.add(0, [1])
    place.turn()
    monkeypatch.setattr(upkeep, "roll_up_hour", _away)
    with pytest.raises(StoreError):
        place.turn(now=START + 4_000)
    assert not [told for told in place.reports if "kept_up" in told]


@pytest.fixture
def noted(place: Place) -> Callable[..., None]:
    """Writes notes of a cluster."""
    place.in_cluster = True
    numbers = iter(range(100))

    def note(number: int, hosts: list[str], count: int, *, final: bool) -> None:
        values = {
            "cluster": "",
            "host": "web-1",
            "hosts": hosts,
            "cluster_count": count,
            "final": final,
        }
        place.spool.note(SpoolName(START + 60 * number, 60, SEGMENT, next(numbers)), values)

    return note


def test_notes_of_the_cluster(place: Place, noted: Callable[..., None]) -> None:
    noted(0, ["a", "b"], 3, final=False)
    place.turn()
    assert archived.windows(place.ids) == {}, "a note waits for its window"
    place.add(0, [1, 2])
    place.add(1, [1])
    place.turn()
    entries = archived.windows(place.ids)
    told = [(one["hosts"], one["cluster_count"], one["final"]) for one in entries.values()]
    assert told == [(["a", "b"], 3, False), (None, None, False)]
    noted(0, ["a", "b"], 4, final=False)
    noted(0, ["a", "b", "c"], 5, final=True)
    place.turn()
    place.add(0, [1, 2])
    place.turn()
    entry = archived.windows(place.ids)[START]
    assert (entry["hosts"], entry["cluster_count"], entry["final"]) == (["a", "b", "c"], 5, True)
    assert entry["rows"] == 2
    assert place.spool.files(NOTE) == []


def test_a_damaged_note_is_set_aside(place: Place, noted: Callable[..., None]) -> None:
    place.add(0, [1])
    noted(0, ["a"], 1, final=True)
    [path] = place.spool.files(NOTE)
    path.write_bytes(path.read_bytes()[:-5])
    place.turn()
    assert archived.windows(place.ids)[START]["hosts"] is None
    assert path.with_name(f"{path.name}.damaged").exists()
