from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq
import pytest

from verve.archive.errors import ArchiveError, DamagedFileError
from verve.archive.format import id_file_writer
from verve.archive.format.head import Contents, Head, Input
from verve.archive.format.id_file import IdFile
from verve.archive.format.id_file_writer import IdFileWriter, write
from verve.archive.format.layout import FileName
from verve.archive.format.levels import Level
from verve.archive.format.manifest import State, WindowEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

HOUR = 1796040000  # 2026-11-30T12:00:00Z
WINDOW = Head(file=FileName(HOUR + 60, 60, "a1", Level.MINUTE, "web"), host="one")
ROLL_UP = Head(
    file=FileName(HOUR, 3600, "a1", Level.HOUR, "web"),
    host="one",
    inputs=(Input("a.parquet", 3, "ab"),),
    windows=(WindowEntry(start=HOUR, length=60, state=State.EMPTY, hosts=("one",)),),
    original=Contents(8, "cd"),
    forgotten=1,
)
LOW, HIGH = -(2**63), 2**63 - 1


class Bytes:
    """A file in memory."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __call__(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """See `ReadRanges`."""
        return [self.data[offset : offset + length] for offset, length in ranges]

    def open(self, file: FileName) -> IdFile:
        """Open it as this file of the archive."""
        return IdFile.open(file, len(self.data), self)

    def all(self, file: FileName) -> list[int]:
        """All ids, if it is this file of the archive; of a roll-up, the parts are read too."""
        opened = self.open(file)
        if file.level.parts:
            opened.ids_and_parts(slice(None), self)
        found: list[int] = opened.ids(slice(None), self).tolist()
        return found


@pytest.fixture(autouse=True)
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(id_file_writer, "ROW_GROUP", 100)


def sample(count: int, seed: int = 7) -> NDArray[np.int64]:
    """Distinct ids, sorted, with both ends of their range."""
    drawn = np.random.default_rng(seed).integers(LOW, HIGH, count - 2, dtype=np.int64)
    return np.unique(np.concatenate([drawn, np.array([LOW, HIGH], dtype=np.int64)]))


def test_a_day_of_empty_windows_has_a_large_footer_and_no_data(tmp_path: Path) -> None:
    windows = tuple(
        WindowEntry(start=HOUR + 60 * n, length=60, state=State.EMPTY, file=f"{n}{'a' * 50}")
        for n in range(1440)
    )
    head = replace(ROLL_UP, windows=windows)
    with IdFileWriter(tmp_path / "a", head):
        pass
    file = Bytes((tmp_path / "a").read_bytes())
    assert len(file.data) > 2**17
    assert file.open(head.file).head == head
    file.data = b"PAR2" + file.data[4:]
    with pytest.raises(DamagedFileError, match="is damaged"):
        file.open(head.file)


@pytest.mark.parametrize("count", [0, 2, 100, 101, 1234])
def test_a_file_reads_as_it_was_written(tmp_path: Path, count: int) -> None:
    ids = sample(count) if count else np.empty(0, dtype=np.int64)
    contents = write(tmp_path / "a", WINDOW, ids)
    file = Bytes((tmp_path / "a").read_bytes())
    found = file.open(WINDOW.file)
    assert (found.head, found.contents) == (WINDOW, contents)
    assert contents.rows == len(ids)
    assert file.all(WINDOW.file) == ids.tolist()
    assert len(found.groups) == -(-count // 100)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600


def test_a_roll_up_keeps_the_parts(tmp_path: Path) -> None:
    ids = sample(1234)
    parts = np.random.default_rng(1).integers(1, 2**60, len(ids), dtype=np.int64)
    with IdFileWriter(tmp_path / "a", ROLL_UP) as writer:
        for some in np.array_split(np.arange(len(ids)), 7):
            writer.append(ids[some], parts[some])
    file = Bytes((tmp_path / "a").read_bytes())
    found = file.open(ROLL_UP.file)
    assert found.head == ROLL_UP
    assert found.head.promised(found.contents) == Contents(8, "cd")
    read, bits = found.ids_and_parts(slice(3, 5), file)
    assert read.tolist() == ids[300:500].tolist()
    assert bits.tolist() == parts[300:500].tolist()
    found.verify(file)


def test_the_row_groups_of_a_range_are_those_that_may_have_its_ids(tmp_path: Path) -> None:
    ids = sample(1000)
    write(tmp_path / "a", WINDOW, ids)
    file = Bytes((tmp_path / "a").read_bytes())
    found = file.open(WINDOW.file)
    draw = random.Random(5)
    for _ in range(100):
        low, high = sorted(draw.sample(range(1000), 2))
        read = found.ids(found.between(int(ids[low]), int(ids[high])), file).tolist()
        assert set(ids[low : high + 1].tolist()) <= set(read)
        assert len(read) <= high - low + 1 + 200
    assert found.between(int(ids[99]) + 1, int(ids[100]) - 1) == slice(0, 0)


@pytest.mark.parametrize("wrong", [[3, 3], [3, 2]])
def test_ids_that_do_not_ascend_are_refused(tmp_path: Path, wrong: list[int]) -> None:
    with pytest.raises(ArchiveError, match="not sorted"):
        write(tmp_path / "a", WINDOW, np.array(wrong))
    assert not (tmp_path / "a").exists()
    writer = IdFileWriter(tmp_path / "a", WINDOW)
    writer.append(np.array([1, 3]))
    with pytest.raises(ArchiveError, match="not sorted"):
        writer.append(np.array([wrong[1]]))
    writer.abandon()
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("head", [WINDOW, ROLL_UP], ids=["window", "roll-up"])
def test_each_flipped_bit_is_found(tmp_path: Path, head: Head, scale: Callable[[int], int]) -> None:
    data = _file(tmp_path, head)
    draw = random.Random(11)
    for bit in [*range(32), *draw.sample(range(len(data) * 8), scale(1000))]:
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ArchiveError, match=head.file.name):
            Bytes(bytes(damaged)).all(head.file)


@pytest.mark.parametrize("head", [WINDOW, ROLL_UP], ids=["window", "roll-up"])
def test_each_truncation_is_found(tmp_path: Path, head: Head) -> None:
    data = _file(tmp_path, head)
    for length in range(len(data)):
        with pytest.raises(DamagedFileError, match=head.file.name):
            Bytes(data[:length]).all(head.file)
    with pytest.raises(DamagedFileError, match=head.file.name):
        Bytes(data + b"\0").all(head.file)


@pytest.mark.parametrize("other", ["parquet", "text", "empty"])
def test_a_foreign_file_is_found(tmp_path: Path, other: str) -> None:
    path = tmp_path / "a"
    if other == "parquet":
        data = _file(tmp_path, WINDOW)
        pq.write_table(pq.read_table(path), tmp_path / "b")
        assert pq.read_table(tmp_path / "b").num_rows == 1000
        data = (tmp_path / "b").read_bytes()
    else:
        data = b"" if other == "empty" else b"these are no ids, " * 100
    with pytest.raises(DamagedFileError, match=WINDOW.file.name):
        Bytes(data).all(WINDOW.file)


@pytest.mark.parametrize(
    "change", [{"start": HOUR}, {"length": 61}, {"segment": "b"}, {"cluster": "x"}]
)
def test_a_file_under_another_name_is_found(tmp_path: Path, change: dict[str, object]) -> None:
    file = replace(WINDOW.file, **change)  # type: ignore[arg-type]
    with pytest.raises(DamagedFileError, match="not where it belongs"):
        Bytes(_file(tmp_path, WINDOW)).open(file)


def test_parquet_finds_damage_in_pages_too(tmp_path: Path) -> None:
    data = bytearray(_file(tmp_path, WINDOW))
    data[200] ^= 1
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(OSError, match="CRC"):
        pq.read_table(tmp_path / "a", page_checksum_verification=True)


def _file(tmp_path: Path, head: Head) -> bytes:
    """The bytes of a file of 1,000 ids."""
    ids = sample(1000)
    with IdFileWriter(tmp_path / "a", head) as writer:
        writer.append(ids, None if head is WINDOW else np.arange(1, 1001))
    return (tmp_path / "a").read_bytes()
