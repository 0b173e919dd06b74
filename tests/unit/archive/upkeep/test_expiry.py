"""Files that nobody may lose to a wrong clock, and files that no host of that name removes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.archive import contents as archived
from tests.support.archive import places as archive
from tests.support.archive.state import START as PLACE_START
from tests.support.archive.state import Place
from verve.archive.errors import DamagedFileError
from verve.archive.format import layout
from verve.archive.format.levels import DAY, HOUR
from verve.archive.store import ArchiveStore, open_store
from verve.archive.upkeep.bounded_time import believed
from verve.archive.upkeep.expiry import Keep
from verve.archive.upkeep.roll_up import Host
from verve.archive.upkeep.upkeep import Upkeep

if TYPE_CHECKING:
    from pathlib import Path

START = 1_764_460_800  # 2025-11-30T00:00:00Z
YEAR = 365 * DAY
KEEP = Keep(minutes=HOUR, hours=2 * DAY, days=9 * DAY)


@pytest.fixture
def store(tmp_path: Path) -> ArchiveStore:
    return open_store(tmp_path / "ids")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(cluster="", host="new", segment="new0", scratch=tmp_path)


def files(store: ArchiveStore) -> list[str]:
    """All files."""
    return [one.name for one in store.list("")]


def test_the_newest_hours_are_believed_once_they_are_a_day() -> None:
    assert believed([]) is None
    assert believed([START]) == START + HOUR
    day = [START + hour * HOUR for hour in range(24)]
    later = [START + YEAR + hour * HOUR for hour in range(24)]
    assert believed([*day, *later[:1]]) == START + DAY
    assert believed([*day, *later[:23]]) == START + DAY
    assert believed([*later, *day]) == START + YEAR + DAY
    # Two days without a service, then an hour, then a day again.
    assert believed([START, START + 3 * DAY]) == START + HOUR
    # A gap of less than a day is none.
    assert believed([START, START + DAY]) == START + DAY + HOUR


def test_a_clock_that_is_set_years_ahead_deletes_nothing(tmp_path: Path) -> None:
    place = Place(tmp_path, keep={"minutes": 2 * DAY, "hours": 9 * DAY, "days": 20 * DAY})
    for number in range(3):
        place.add(number, range(number, 100 + number))
    place.turn(now=PLACE_START + HOUR + 200)
    before = archived.ids(place.ids)
    assert len(before) == 3
    hour_files = list(place.ids.rglob("level=hour/**/*.parquet"))
    assert len(hour_files) == 1
    ahead = 10 * YEAR
    place.turn(now=PLACE_START + ahead)
    assert archived.ids(place.ids) == before
    # It counts on by the wrong clock, for less than a day.
    for hour in range(23):
        place.add(ahead // 60 + 60 * hour, [hour])
        place.turn(now=PLACE_START + ahead + hour * HOUR + 120)
    assert before.items() <= archived.ids(place.ids).items()
    assert hour_files[0].exists()
    # A day of it is what somebody wants.
    for hour in (23, 24):
        place.add(ahead // 60 + 60 * hour, [hour])
        place.turn(now=PLACE_START + ahead + hour * HOUR + 120)
    assert not before.keys() & archived.ids(place.ids).keys()
    assert not hour_files[0].exists()


def test_a_host_that_was_renamed_leaves_no_ids_behind(
    store: ArchiveStore, host: Host, tmp_path: Path
) -> None:
    # The host had another name for a day, and has a new one since. Another host still writes.
    for number in range(24):
        archive.put_window(store, tmp_path, START + number * HOUR, range(9), host="old")
    renamed = Host(cluster="", host="old", segment="old0", scratch=tmp_path)
    Upkeep(store, renamed, Keep()).turn(START + DAY + HOUR)
    archive.put_window(store, tmp_path, START, [1, 2, 3], host="other")
    for day in range(1, 21):
        archive.put_window(store, tmp_path, START + day * DAY, [day], host="new")
        archive.put_window(store, tmp_path, START + day * DAY, [day], host="other")
    olds = {name for name in files(store) if "-old0." in name}
    others = {name for name in files(store) if "-other0." in name}
    assert len(olds) == 24 * 3 + 1

    # Not before the longest time is over, nor while a level stays for ever.
    done = Upkeep(store, host, KEEP).turn(START + 8 * DAY)
    assert not olds & set(done.deleted)
    done = Upkeep(store, host, Keep(minutes=HOUR, hours=DAY)).turn(START + 20 * DAY)
    assert not olds & set(done.deleted)
    done = Upkeep(store, host, KEEP).turn(START + 9 * DAY + 12 * HOUR)
    assert olds & set(done.deleted)
    assert all("level=minute" in name or "level=hour" in name for name in olds & set(done.deleted))
    Upkeep(store, host, KEEP).turn(START + 20 * DAY)
    assert not olds & set(files(store))
    # Who still writes expires its own.
    assert others <= set(files(store))


def test_a_host_that_cannot_be_told_keeps_all(
    store: ArchiveStore, host: Host, tmp_path: Path
) -> None:
    archive.put_window(store, tmp_path, START, range(9), host="old")
    archive.put_window(store, tmp_path, START + 19 * DAY, [1], host="other")
    damaged = layout.manifest_name("", START + 19 * DAY, "other0")
    sound = store.get(damaged)
    store.put(damaged, b"{}")
    upkeep = Upkeep(store, host, KEEP)
    with pytest.raises(DamagedFileError, match=damaged):
        upkeep.turn(START + 20 * DAY)
    assert len([name for name in files(store) if "-old0." in name]) == 2
    store.put(damaged, sound)
    assert len(Upkeep(store, host, KEEP).turn(START + 20 * DAY).deleted) == 2
    assert [name for name in files(store) if "-old0." in name] == []
