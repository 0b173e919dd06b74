from __future__ import annotations

import json

import pytest

from verve.archive.errors import ArchiveError, DamagedFileError
from verve.archive.format.manifest import Manifest, State, WindowEntry, opened, sealed

HOUR = 1796040000  # 2026-11-30T12:00:00Z
ENTRY = WindowEntry(
    start=HOUR + 60,
    length=60,
    state=State.ARCHIVED,
    rows=3,
    digest="ab",
    file="x.parquet",
    hosts=("one", "two"),
    cluster_count=4,
    final=False,
)
MANIFEST = Manifest(cluster="web", host="one", segment="a1", hour=HOUR).with_window(ENTRY)


def test_a_manifest_reads_as_it_was_written() -> None:
    assert Manifest.from_json(MANIFEST.to_json(), MANIFEST.name) == MANIFEST
    written = json.loads(MANIFEST.to_json())
    assert written["windows"][0]["start"] == "2026-11-30T12:01:00Z"


def test_a_window_replaces_itself_and_stays_in_order() -> None:
    first = WindowEntry(start=HOUR, length=60, state=State.LOST, reason="the segment is gone")
    again = WindowEntry(start=HOUR + 60, length=60, state=State.EMPTY)
    found = MANIFEST.with_window(again).with_window(first)
    assert found.windows == (first, again)


def test_each_flipped_bit_is_found() -> None:
    data = MANIFEST.to_json()
    for bit in range(len(data) * 8):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ArchiveError, match=MANIFEST.name):
            Manifest.from_json(bytes(damaged), MANIFEST.name)


def test_each_truncation_is_found() -> None:
    data = MANIFEST.to_json()
    for length in range(len(data)):
        with pytest.raises(DamagedFileError, match=MANIFEST.name):
            Manifest.from_json(data[:length], MANIFEST.name)


def test_one_in_a_wrong_place_is_found() -> None:
    name = MANIFEST.name.replace("hour=12", "hour=13")
    with pytest.raises(DamagedFileError, match="not where it belongs"):
        Manifest.from_json(MANIFEST.to_json(), name)


def test_a_newer_one_says_so() -> None:
    with pytest.raises(ArchiveError, match="newer Verve"):
        opened(sealed({"format": 2}), "a")


@pytest.mark.parametrize("change", [{"rows": -1}, {"state": "fine"}, {"start": "2026"}, {"x": 1}])
def test_one_that_makes_no_sense_is_found(change: dict[str, object]) -> None:
    values = opened(MANIFEST.to_json(), MANIFEST.name)
    values["windows"][0].update(change)
    with pytest.raises(DamagedFileError, match="makes no sense"):
        Manifest.from_json(sealed(values), MANIFEST.name)
