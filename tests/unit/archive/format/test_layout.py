from __future__ import annotations

import pytest

from verve.archive.errors import DamagedFileError
from verve.archive.format import layout
from verve.archive.format.layout import FileName
from verve.archive.format.levels import Level, rolls_up

START = 1796042700  # 2026-11-30T12:45:00Z
HOUR_FOLDER = "cluster=web%20eu%2F1/level=hour/date=2026-11-30/hour=12/"
FOLDER = "cluster=host/level=minute/date=2026-11-30/hour=12/"


@pytest.mark.parametrize(
    ("file", "name"),
    [
        (FileName(START, 60, "a1", Level.MINUTE, ""), f"{FOLDER}20261130T124500Z-60s-a1.parquet"),
        (
            FileName(START - 2700, 3600, "a1", Level.HOUR, "web eu/1"),
            f"{HOUR_FOLDER}20261130T120000Z-3600s-a1.parquet",
        ),
        (
            FileName(START - START % 86_400, 86_400, "a1", Level.DAY, "web"),
            "cluster=web/level=day/date=2026-11-30/20261130T000000Z-86400s-a1.parquet",
        ),
    ],
)
def test_a_name_says_what_the_file_is(file: FileName, name: str) -> None:
    assert file.name == name
    assert layout.parsed(name, file.cluster, file.level) == file


@pytest.mark.parametrize(
    "name",
    [
        f"{FOLDER}notes.txt",
        f"{FOLDER}20261130T124500Z-60s-a1.parquet.bak",
        f"{FOLDER}20261130T134500Z-60s-a1.parquet",
        f"{FOLDER}20261130T129900Z-60s-a1.parquet",
        f"{FOLDER}20261130T124500Z-060s-a1.parquet",
        f"{FOLDER}more/20261130T124500Z-60s-a1.parquet",
        "cluster=web/level=minute/date=2026-11-30/hour=12/20261130T124500Z-60s-a1.parquet",
        "cluster=host/level=hour/date=2026-11-30/hour=12/20261130T124500Z-60s-a1.parquet",
    ],
)
def test_any_other_name_is_an_error_that_names_it(name: str) -> None:
    level = Level.HOUR if "level=hour" in name else Level.MINUTE
    with pytest.raises(DamagedFileError, match=r"none of its own: `cluster=") as error:
        layout.parsed(name, "", level)
    assert error.value.name == name


def test_the_name_of_a_manifest_says_segment_and_hour() -> None:
    name = layout.manifest_name("", START, "a1")
    assert name == f"{FOLDER}manifest-a1.json"
    assert layout.manifest_segment(name) == "a1"
    assert layout.manifest_segment(f"{FOLDER}manifest-.json") is None
    assert layout.hour_of_folder(name) == START - 2700
    with pytest.raises(DamagedFileError):
        layout.hour_of_folder("cluster=host/level=minute/date=2026-13-30/hour=12/manifest-a.json")


@pytest.mark.parametrize("id", [0, -(2**63), 2**63 - 1])
def test_the_name_of_a_tombstone_says_the_id(id: int) -> None:
    assert layout.tombstone_id(layout.tombstone_name("web", id)) == id


def test_what_fills_an_hour_with_at_most_64_windows_is_rolled_up() -> None:
    assert [n for n in (1, 7, 56, 57, 60, 90, 300, 3600, 7200) if rolls_up(n)] == [
        60,
        90,
        300,
        3600,
    ]
