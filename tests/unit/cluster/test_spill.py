"""Spills: round trip, damage at every place, bound, full disk, files of earlier leaders."""

from __future__ import annotations

import os
import random
import struct
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cluster.in_process import EventRecorder
from tests.support.rig import MINUTE, clock_in_minute, counter_of, settings
from verve.cluster.spill import spill_file
from verve.cluster.spill.arena_ids import PIECE, ArenaIds, GoneError
from verve.cluster.spill.spill_file import DamagedError, SpilledIds, SpillHead
from verve.cluster.spill.spills import Spills

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from verve import Counter
    from verve.cluster.spill.arena_ids import Ids

IDENTITY = "0123456789abcdef"


class SomeIds:
    """Ids in pieces of a given length."""

    def __init__(self, ids: Sequence[int], piece: int = PIECE) -> None:
        self._ids = ids
        self._piece = piece
        self.count = len(ids)

    def read(self, position: int) -> tuple[Mapping[int, Sequence[bytes]], int | None]:
        """See `Ids`."""
        groups: dict[int, list[bytes]] = {}
        for id in self._ids[position : position + self._piece]:
            groups.setdefault(id % 16, []).append(struct.pack("<q", id))
        following = position + self._piece
        return groups, following if following < self.count else None


def read_all(ids: Ids) -> list[int]:
    """All ids, by the shard that they are in."""
    found, position = [], 0
    following: int | None = 0
    while following is not None:
        position = following
        groups, following = ids.read(position)
        assert all(0 <= shard < 16 and members for shard, members in groups.items())
        found += [struct.unpack("<q", member)[0] for its in groups.values() for member in its]
    return sorted(found)


def written(path: Path, ids: Sequence[int], piece: int = PIECE) -> SpilledIds:
    """A spill of these ids."""
    spill_file.write(path, SpillHead(MINUTE, 60, len(ids), IDENTITY), SomeIds(ids, piece))
    return SpilledIds.open(path)


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    edges = [0, -1, 1, (1 << 63) - 1, -(1 << 63)]
    ids = [*edges, *random.sample(range(10, 1 << 40), 50_000)]
    spilled = written(tmp_path / "one.ids", ids)
    assert spilled.head == SpillHead(MINUTE, 60, len(ids), IDENTITY)
    assert read_all(spilled) == sorted(ids)
    # Reading may begin again, and a piece may be read twice.
    _, position = spilled.read(0)
    assert position is not None
    assert spilled.read(position) == spilled.read(position)
    assert read_all(spilled) == sorted(ids)
    assert list(tmp_path.iterdir()) == [tmp_path / "one.ids"]
    size = (tmp_path / "one.ids").stat().st_size
    assert len(ids) * 8 < size <= spill_file.bytes_of(len(ids))


def test_an_empty_spill_is_whole(tmp_path: Path) -> None:
    assert read_all(written(tmp_path / "one.ids", [])) == []


def test_damage_at_any_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "one.ids"
    written(path, range(100), piece=30)
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :])
        with pytest.raises(DamagedError):
            read_all(SpilledIds.open(path))


def test_a_file_of_any_other_length_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "one.ids"
    written(path, range(100), piece=30)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedError):
            read_all(SpilledIds.open(path))
    path.write_bytes(whole + b"\0")
    with pytest.raises(DamagedError):
        read_all(SpilledIds.open(path))


def test_a_block_that_is_missing_or_twice_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "one.ids"
    spill_file.write(path, SpillHead(MINUTE, 60, 32, IDENTITY), SomeIds(range(32), piece=16))
    whole = path.read_bytes()
    block = 12 + 8
    first = spill_file.HEAD_BYTES
    for changed in (
        whole[:first] + whole[first + block :],
        whole[: first + block] + whole[first:],
        whole[:first]
        + whole[first + block : first + 2 * block]
        + whole[first : first + block]
        + whole[first + 2 * block :],
    ):
        path.write_bytes(changed)
        with pytest.raises(DamagedError):
            read_all(SpilledIds.open(path))


@pytest.fixture
def told() -> EventRecorder:
    return EventRecorder()


def spills_of(directory: Path, told: EventRecorder, **flags: str) -> Spills:
    """The spills of some settings."""
    return Spills(settings(directory, **flags), IDENTITY, told)


def test_a_frozen_window_goes_to_disk_and_comes_back(tmp_path: Path, told: EventRecorder) -> None:
    clock = clock_in_minute()
    counter: Counter
    with counter_of(settings(tmp_path), clock) as counter:
        counter.retention.enable()
        counter.add_many(range(-500, 500))
        clock.advance(60)
        counter.maintenance.run()
        ids = ArenaIds(counter, MINUTE, 1_000)
        spilled = spills_of(tmp_path, told).write(MINUTE, ids)
        assert spilled is not None
        counter.retention.settle(MINUTE)
        counter.maintenance.run()
        with pytest.raises(GoneError):
            ids.read(0)
    [found] = spills_of(tmp_path, told).find()
    assert found.head.identity == IDENTITY
    assert read_all(found) == list(range(-500, 500))
    assert told.names() == ["spill.written"]
    spills_of(tmp_path, told).remove(found)
    assert spills_of(tmp_path, told).find() == []


def test_the_bound_holds_and_is_reported_once(tmp_path: Path, told: EventRecorder) -> None:
    spills = spills_of(tmp_path, told, spill_max="4096")
    kept = spills.write(MINUTE, SomeIds(range(300)))
    assert kept is not None
    assert spills.write(MINUTE + 60, SomeIds(range(300))) is None
    assert spills.write(MINUTE + 60, SomeIds(range(300))) is None
    assert told.names() == ["spill.written", "spill.full"]
    assert not spills.may_retry
    spills.remove(kept)
    assert spills.write(MINUTE + 60, SomeIds(range(300))) is not None


def test_a_full_disk_is_reported_and_leaves_nothing_behind(
    tmp_path: Path, told: EventRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    spills = spills_of(tmp_path, told)
    assert spills.write(MINUTE, SomeIds(range(10))) is not None

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert spills.write(MINUTE + 60, SomeIds(range(10))) is None
    assert told.events[-1][0] == "spill.failed"
    assert told.events[-1][1]["disk_full"]
    assert len(list(spills.directory.iterdir())) == 1
    assert spills.write(MINUTE + 60, SomeIds(range(10))) is not None


def test_what_is_damaged_is_set_aside_and_told_of(tmp_path: Path, told: EventRecorder) -> None:
    spills = spills_of(tmp_path, told)
    whole, damaged = (spills.write(MINUTE + 60 * n, SomeIds(range(10))) for n in range(2))
    assert whole is not None
    assert damaged is not None
    damaged.path.write_bytes(b"no spill")
    (spills.directory / "1-60-x.ids.part").write_bytes(b"half")
    [found] = spills.find()
    assert found.path == whole.path
    assert told.names()[-1] == "spill.damaged"
    names = sorted(path.name for path in spills.directory.iterdir())
    assert names == sorted([whole.path.name, damaged.path.name + ".damaged"])
    written_at = whole.path.stat().st_mtime
    spills.remove_old(written_at + 89_000)
    assert len(list(spills.directory.iterdir())) == 2
    spills.remove_old(written_at + 91_000)
    assert list(spills.directory.iterdir()) == []
    assert told.names()[-2:] == ["spill.dropped", "spill.dropped"]


def test_a_spill_of_a_newer_version_stays_for_the_release_that_reads_it(
    tmp_path: Path, told: EventRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    spills = spills_of(tmp_path, told)
    with monkeypatch.context() as newer:
        newer.setattr(spill_file, "VERSION", spill_file.VERSION + 1)
        spilled = spills.write(MINUTE, SomeIds(range(10)))
    assert spilled is not None
    content = spilled.path.read_bytes()
    assert spills.find() == []
    name, told_of = told.events[-1]
    assert (name, told_of["path"]) == ("spill.unreadable", spilled.path)
    assert "version 2" in str(told_of["error"])
    assert "`pip install --upgrade verve-counter`" in str(told_of["error"])
    assert spilled.path.read_bytes() == content

    # The other spills are read, and the newer release still finds its own.
    ours = spills.write(MINUTE + 60, SomeIds(range(10)))
    assert ours is not None
    assert [found.path for found in spills.find()] == [ours.path]
    with monkeypatch.context() as newer:
        newer.setattr(spill_file, "VERSION", spill_file.VERSION + 1)
        [found] = [one for one in spills.find() if one.path == spilled.path]
        assert read_all(found) == list(range(10))


def test_ids_that_are_fewer_than_they_should_be_are_no_spill(
    tmp_path: Path, told: EventRecorder
) -> None:
    ids: Any = SomeIds(range(10))
    ids.count = 11
    assert spills_of(tmp_path, told).write(MINUTE, ids) is None
    assert told.names() == ["spill.failed"]
    assert spills_of(tmp_path, told).find() == []


def test_a_spill_that_was_removed_is_gone(tmp_path: Path) -> None:
    spilled = written(tmp_path / "spill.ids", range(100))
    assert read_all(spilled) == [*range(100)]
    spilled.path.unlink()
    with pytest.raises(GoneError, match="a spill was removed"):
        read_all(spilled)
