from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.archive import places as archive
from tests.support.archive.noting_store import NotingStore
from verve.archive.errors import DamagedFileError, StoreError
from verve.archive.format import layout
from verve.archive.format.id_file_writer import IdFileWriter
from verve.archive.format.layout import FileName
from verve.archive.format.levels import DAY, HOUR, Level
from verve.archive.format.manifest import State, WindowEntry
from verve.archive.query.catalogue import Catalogue
from verve.archive.query.distinct import distinct
from verve.archive.query.span import By, Span
from verve.archive.store import ArchiveStore, open_store
from verve.archive.upkeep import forgetting
from verve.archive.upkeep.expiry import Keep
from verve.archive.upkeep.forgetting import forget, tombstones
from verve.archive.upkeep.roll_up import Host, roll_up_day, roll_up_hour
from verve.archive.upkeep.upkeep import SETTLED_SECONDS, Upkeep

if TYPE_CHECKING:
    from pathlib import Path

    from verve.archive.format.head import Contents

START = 1_764_460_800  # 2025-11-30T00:00:00Z


@pytest.fixture
def store(tmp_path: Path) -> ArchiveStore:
    return open_store(tmp_path / "ids")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(cluster="", host="one", segment="one0", scratch=tmp_path)


def names(store: ArchiveStore, level: str) -> list[str]:
    """The files of a level."""
    return [one.name for one in store.list(f"cluster=host/level={level}/")]


def test_an_hour_is_rolled_up_when_it_is_over_and_nothing_is_pending(
    store: ArchiveStore, host: Host, tmp_path: Path
) -> None:
    archive.put_window(store, tmp_path, START, range(10))
    upkeep = Upkeep(store, host, Keep())
    over = START + HOUR + SETTLED_SECONDS
    assert upkeep.turn(over - 1).rolled_up == ()
    assert upkeep.turn(over, pending=[START + 120]).rolled_up == ()
    assert len(upkeep.turn(over).rolled_up) == 1
    assert upkeep.turn(over).rolled_up == ()
    assert Upkeep(store, host, Keep()).turn(over).rolled_up == ()


def test_a_window_that_comes_late_is_rolled_up_with_the_others(
    store: ArchiveStore, host: Host, tmp_path: Path
) -> None:
    archive.put_window(store, tmp_path, START, range(10))
    upkeep = Upkeep(store, host, Keep(minutes=0, hours=None, days=None))
    # Files are deleted by a later turn than the one that rolls them up.
    turns = [upkeep.turn(START + 2 * HOUR) for _ in range(2)]
    assert [(len(one.rolled_up), len(one.deleted)) for one in turns] == [(1, 0), (0, 2)]
    assert names(store, "minute") == []
    archive.put_window(store, tmp_path, START + 60, range(5, 15))
    turns = [upkeep.turn(START + 2 * HOUR) for _ in range(2)]
    assert [(len(one.rolled_up), len(one.deleted)) for one in turns] == [(1, 0), (0, 2)]
    span = Span(START, START + HOUR)
    catalogue = Catalogue.read(store, "", span)
    (hour,) = catalogue.roll_ups
    assert (hour.file.contents.rows, len(hour.covers)) == (15, 2)
    assert len(hour.file.head.inputs) == 2
    assert distinct(store, "", span).distinct == 15
    assert [one.distinct for one in distinct(store, "", span, by=By.MINUTE).buckets][:3] == [
        10,
        10,
        0,
    ]


def test_hours_become_a_day(store: ArchiveStore, host: Host, tmp_path: Path) -> None:
    for hour in range(24):
        archive.put_window(store, tmp_path, START + hour * HOUR, range(hour, hour + 10))
    keep = Keep(minutes=HOUR, hours=2 * DAY, days=9 * DAY)
    upkeep = Upkeep(store, host, keep)
    assert len(upkeep.turn(START + DAY + SETTLED_SECONDS).rolled_up) == 25
    assert (len(names(store, "hour")), len(names(store, "day"))) == (24, 1)
    assert len(upkeep.turn(START + 3 * DAY).deleted) > 20
    assert (names(store, "minute"), names(store, "hour")) == ([], [])
    found = distinct(store, "", Span(START, START + DAY), by=By.HOUR)
    assert [one.distinct for one in found.buckets] == [10] * 24
    assert distinct(store, "", Span(START, START + DAY)).distinct == 33
    assert len(upkeep.turn(START + 10 * DAY).deleted) == 1
    assert store.list("") == []


def test_what_no_roll_up_has_stays(store: ArchiveStore, host: Host, tmp_path: Path) -> None:
    archive.put_window(store, tmp_path, START, range(10))
    archive.put_window(store, tmp_path, START + 60, range(10), length=90)
    upkeep = Upkeep(store, host, Keep(minutes=HOUR, hours=DAY, days=9 * DAY))
    # Windows of two lengths have no bits in common: the hour is not rolled up.
    assert upkeep.turn(START + 2 * DAY).deleted == ()
    assert len(names(store, "minute")) == 3
    assert len(upkeep.turn(START + 20 * DAY).deleted) == 3


def test_a_host_leaves_the_files_of_others_alone(
    store: ArchiveStore, host: Host, tmp_path: Path
) -> None:
    for start in (START, START + 8 * DAY):
        archive.put_window(store, tmp_path, start, range(10), host="two")
    done = Upkeep(store, host, Keep(minutes=0, hours=0, days=0)).turn(START + 9 * DAY)
    assert (done.rolled_up, done.deleted) == ((), ())


def test_a_window_whose_file_is_gone_is_in_no_roll_up(
    store: ArchiveStore, host: Host, tmp_path: Path
) -> None:
    names_of = [archive.put_window(store, tmp_path, START + 60 * n, [n, 99]) for n in range(3)]
    store.delete(names_of[1].name)
    hour, minute = Span(START, START + 180), Span(START + 60, START + 120)
    upkeep = Upkeep(store, host, Keep(minutes=HOUR, hours=2 * DAY, days=9 * DAY))
    for now in (HOUR + SETTLED_SECONDS, DAY + SETTLED_SECONDS, 3 * DAY):
        upkeep.turn(START + now)
        if now < 3 * DAY:
            found = distinct(store, "", hour)
            assert (found.distinct, found.complete) == (3, False)
        found = distinct(store, "", Span(START, START + DAY) if now == 3 * DAY else minute)
        assert "its file is gone" in [one.reason for one in found.missing]
    assert (len(names(store, "hour")), len(names(store, "day"))) == (0, 1)


@pytest.mark.parametrize("rolls_up", [True, False])
def test_windows_that_an_overtaken_manifest_lacks_are_entered_again(
    store: ArchiveStore, host: Host, tmp_path: Path, rolls_up: bool
) -> None:
    length = 60 if rolls_up else 7_200
    archive.put_window(store, tmp_path, START, range(10), length=length)
    manifest = layout.manifest_name("", START, "one0")
    earlier = store.get(manifest)
    other = "one0" if rolls_up else "one1"
    archive.put_window(store, tmp_path, START + 60, range(5, 15), length=length, segment=other)
    archive.put_window(store, tmp_path, START + 120, [], length=length, segment=other)
    archive.put_window(store, tmp_path, START + 120, [77], host="two", length=length)
    span = Span(START, START + 180) if rolls_up else Span(START, START + 7_320)
    whole = distinct(store, "", span)
    # As by a put of the first window's manifest that the store carried out last.
    store.put(manifest, earlier)
    if not rolls_up:
        store.delete(layout.manifest_name("", START, "one1"))
    assert distinct(store, "", span) != whole
    Upkeep(store, host, Keep()).turn(START + 3 * HOUR)
    found = distinct(store, "", span)
    assert (found.distinct, found.missing) == (whole.distinct, whole.missing)
    # Another host's file is its own matter.
    store.delete(layout.manifest_name("", START, "two0"))
    Upkeep(store, host, Keep()).turn(START + 3 * HOUR)
    assert distinct(store, "", span).hosts == ("one",)


def test_a_day_is_tried_again_after_an_error(
    store: ArchiveStore, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.put_window(store, tmp_path, START, range(10))
    upkeep = Upkeep(store, host, Keep())
    put = store.put

    def fails(name: str, data: bytes | Path) -> None:
        if "level=day" in name:
            raise StoreError("no room")
        put(name, data)

    with monkeypatch.context() as patched:
        patched.setattr(store, "put", fails)
        with pytest.raises(StoreError, match="no room"):
            upkeep.turn(START + 2 * DAY)
    assert [name for name in upkeep.turn(START + 2 * DAY).rolled_up if "level=day" in name]


def test_a_damaged_manifest_delays_only_what_it_may_concern(
    store: ArchiveStore, host: Host, tmp_path: Path
) -> None:
    for start in (START, START + HOUR, START + 2 * DAY):
        archive.put_window(store, tmp_path, start, range(10))
    damaged = layout.manifest_name("", START + HOUR, "two0")
    store.put(damaged, b"{}")
    upkeep = Upkeep(store, host, Keep(minutes=0, hours=None, days=None))
    for _ in range(3):
        with pytest.raises(DamagedFileError, match=damaged):
            upkeep.turn(START + 4 * DAY)
    left = {one for one in names(store, "minute") if one.endswith(".parquet")}
    assert left == {FileName(START + HOUR, 60, "one0", Level.MINUTE, "").name}
    assert (len(names(store, "hour")), len(names(store, "day"))) == (2, 1)
    store.delete(damaged)
    assert len(upkeep.turn(START + 4 * DAY).rolled_up) == 2
    upkeep.turn(START + 4 * DAY)
    assert names(store, "minute") == []


def test_a_roll_up_tells_that_ids_were_forgotten(
    store: ArchiveStore, host: Host, tmp_path: Path
) -> None:
    for number, ids in enumerate([range(10), range(5, 15)]):
        archive.put_window(
            store, tmp_path, START + HOUR * number, ids, hosts=("one0",), cluster_count=10
        )
    forget(store, "", 7, tmp_path)
    # A host that had the window in its spool archives the id once more.
    archive.put_window(store, tmp_path, START, range(10), hosts=("one0",), cluster_count=10)
    upkeep = Upkeep(store, host, Keep(minutes=0, hours=None, days=None))
    for _ in range(2):
        upkeep.turn(START + 2 * DAY)
    for number in range(2):
        start = START + HOUR * number
        found = distinct(store, "", Span(start, start + 60))
        assert (found.distinct, found.missing) == (9, ())
    roll_ups = Catalogue.read(store, "", Span(START, START + DAY)).roll_ups
    assert [one.file.head.forgotten for one in roll_ups] == [1, 1, 2]


def test_a_lost_window_is_remembered_by_the_roll_up(
    store: ArchiveStore, host: Host, tmp_path: Path
) -> None:
    archive.put_window(store, tmp_path, START, range(10))
    entry = WindowEntry(start=START + 60, length=60, state=State.LOST, reason="gone")
    archive.put_entry(store, entry, host="one")
    upkeep = Upkeep(store, host, Keep(minutes=0))
    for _ in range(2):
        upkeep.turn(START + 2 * HOUR)
    assert names(store, "minute") == []
    found = distinct(store, "", Span(START, START + 120))
    assert [one.reason for one in found.missing] == ["lost: gone"]


def test_a_forgotten_id_is_in_no_roll_up(store: ArchiveStore, host: Host, tmp_path: Path) -> None:
    archive.put_window(store, tmp_path, START, range(10))
    told: list[tuple[int, int]] = []
    done = forget(store, "", 7, tmp_path, lambda *files: told.append(files))
    assert (len(done.rewritten), told) == (1, [(1, 1)])
    # A host that had the window in its spool archives the id once more; it stays hidden.
    archive.put_window(store, tmp_path, START + 60, range(10))
    assert tombstones(store, "") == [7]
    assert distinct(store, "", Span(START, START + 120)).distinct == 9
    assert roll_up_hour(store, host, START)
    assert roll_up_day(store, host, START)
    for one in Catalogue.read(store, "", Span(START, START + HOUR)).roll_ups:
        assert one.file.contents.rows == 9
    assert distinct(store, "", Span(START, START + 120)).distinct == 9
    assert forget(store, "", 7, tmp_path).rewritten
    assert forget(store, "", 7, tmp_path).rewritten == ()


@pytest.mark.parametrize("keep", [Keep(minutes=0), Keep(minutes=0, hours=0, days=0)])
def test_a_file_that_changes_while_an_id_is_forgotten_is_read_again(
    store: ArchiveStore, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: Keep
) -> None:
    archive.put_window(store, tmp_path, START, range(10))
    upkeep = Upkeep(store, host, Keep(minutes=0))
    for _ in range(2):
        upkeep.turn(START + 2 * HOUR)
    kept = keep.longest is None
    late: list[int] = []

    class Slow(IdFileWriter):
        """Meanwhile the host takes up a late window, or its files expire."""

        def close(self) -> Contents:
            if not late:
                late.append(START + 60)
                if kept:
                    archive.put_window(store, tmp_path, late[0], range(20, 30))
                    assert len(upkeep.turn(START + 2 * HOUR).rolled_up) == 1
                else:
                    Upkeep(store, host, keep).turn(START + 9 * DAY)
                    assert names(store, "hour") == []
            return super().close()

    monkeypatch.setattr(forgetting, "IdFileWriter", Slow)
    # The host itself leaves the id out.
    assert forget(store, "", 7, tmp_path).rewritten == ()
    assert len(names(store, "hour")) == kept
    assert distinct(store, "", Span(START, START + HOUR)).distinct == (19 if kept else 0)


def test_a_window_survives_a_roll_up_that_forget_replaces(
    store: ArchiveStore, host: Host, tmp_path: Path
) -> None:
    archive.put_window(store, tmp_path, START, range(10))
    upkeep = Upkeep(store, host, Keep(minutes=0))
    upkeep.turn(START + 2 * HOUR)
    (name,) = names(store, "hour")
    earlier = store.get(name)
    archive.put_window(store, tmp_path, START + 60, range(20, 30))
    assert len(upkeep.turn(START + 2 * HOUR).rolled_up) == 1
    # As by a put of forget that began before that of the host.
    store.put(name, earlier)
    for _ in range(3):
        upkeep.turn(START + 2 * HOUR)
        assert distinct(store, "", Span(START, START + HOUR)).distinct == 20
    assert names(store, "minute") == []


def test_a_turn_lists_each_level_once(store: ArchiveStore, host: Host, tmp_path: Path) -> None:
    for name in ("one", "two"):
        for hour in range(30):
            archive.put_window(store, tmp_path, START + hour * HOUR, [hour], host=name)
    noting = NotingStore(store)
    upkeep = Upkeep(noting, host, Keep(minutes=HOUR, hours=2 * DAY, days=9 * DAY))
    folders = [f"cluster=host/level={level}/" for level in Level]
    # The first turn also looks for files of hosts that write no more.
    first = upkeep.turn(START + 2 * DAY, bounded=True)
    assert [noting.read.count(one) for one in folders] == [1, 1, 1]
    assert len(names(store, "hour")) == 30
    assert first.rolled_up
    assert upkeep.turn(START + 2 * DAY, bounded=True).deleted
    # The hours of the other host, which expires nothing, are read once and not again.
    for _ in range(2):
        noting.read.clear()
        upkeep.turn(START + 2 * DAY, bounded=True)
    assert noting.read == folders
