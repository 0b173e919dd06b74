"""The spool: round trip, damage at every byte, its bound, and the reserve of the disk."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from verve.archive.errors import ArchiveError, DamagedFileError
from verve.archive.format.manifest import State
from verve.archive.spool import spool_file
from verve.archive.spool.spool import DAMAGED, IDS, NOTE, NoRoomError, Spool, SpoolName, name_of
from verve.archive.spool.spool_file import SpoolFile, SpoolHead

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START = 1_800_000_000
HEAD = SpoolHead(
    window_start=START,
    window_seconds=60,
    segment="0123456789abcdef",
    host="web-1",
    cluster="shop",
    count=3,
    state=State.ARCHIVED,
)
BODY = b"".join(number.to_bytes(8, "little", signed=True) for number in (7, -1, 2**63 - 1))


def spool_in(directory: Path, most: int = 1 << 20, reserve: int = 0) -> Spool:
    """A spool whose state directory exists."""
    directory.mkdir(exist_ok=True)
    return Spool(directory, most, reserve)


def test_a_window_comes_back_as_it_was(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    path = spool.write(HEAD, [BODY[:8], BODY[8:]], "a")
    found = SpoolFile.open(path)
    assert found.head == HEAD
    assert b"".join(found.pieces()) == BODY
    assert path.stat().st_mode & 0o777 == 0o600
    assert spool.directory.stat().st_mode & 0o777 == 0o700
    assert spool.files(IDS) == [path]
    assert spool.usage() == (1, path.stat().st_size)
    assert path.stat().st_size <= spool_file.bytes_of(3)
    assert spool.oldest() == START
    spool.remove(path)
    assert spool.usage() == (0, 0)
    assert spool.oldest() is None


def test_a_window_without_ids(tmp_path: Path) -> None:
    head = replace(HEAD, count=0, state=State.DROPPED, reason="no room")
    found = SpoolFile.open(spool_in(tmp_path).write(head, (), "a"))
    assert found.head == head
    assert list(found.pieces()) == []


def test_every_flipped_bit_and_every_cut_is_found(tmp_path: Path) -> None:
    path = spool_in(tmp_path).write(HEAD, [BODY], "a")
    sound = path.read_bytes()
    broken = [sound[:length] for length in range(len(sound))]
    broken += [
        sound[:at] + bytes([sound[at] ^ 1 << bit]) + sound[at + 1 :]
        for at in range(len(sound))
        for bit in range(8)
    ]
    broken.append(sound + b"\0")
    for content in broken:
        path.write_bytes(content)
        with pytest.raises(DamagedFileError, match=path.name):
            list(SpoolFile.open(path).pieces())


def test_a_newer_version_is_told_from_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_file, "VERSION", 2)
    path = spool_in(tmp_path).write(HEAD, [BODY], "a")
    monkeypatch.undo()
    with pytest.raises(ArchiveError, match="newer Verve") as raised:
        SpoolFile.open(path)
    assert not isinstance(raised.value, DamagedFileError)


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    with pytest.raises(DamagedFileError, match="of 3 ids 1 could be read"):
        spool.write(HEAD, [BODY[:8]], "a")
    assert spool.usage() == (0, 0)


def test_the_bound_and_the_reserve(tmp_path: Path) -> None:
    spool = spool_in(tmp_path, most=4 * spool_file.bytes_of(3))
    others = [replace(HEAD, window_start=START + 60 * number) for number in range(50)]

    def fill() -> None:
        for head in others:
            spool.write(head, [BODY], "a")

    with pytest.raises(NoRoomError, match="VERVE_ARCHIVE_SPOOL_MAX"):
        fill()
    assert len(spool.files(IDS)) >= 4
    assert spool.usage()[1] <= 4 * spool_file.bytes_of(3)
    # What says that a window is not kept fits all the same.
    spool.write(replace(HEAD, count=0, state=State.DROPPED), (), "a")
    found = os.statvfs(tmp_path)
    tight = spool_in(tmp_path, 1 << 40, found.f_blocks * found.f_frsize)
    with pytest.raises(NoRoomError, match="VERVE_ARCHIVE_RESERVE"):
        tight.write(replace(HEAD, window_start=60), [BODY], "a")


def test_names_and_the_order_of_files(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    for start in (START + 600, START, 60):
        spool.write(replace(HEAD, window_start=start), [BODY], "a")
    (spool.directory / "writer.lock").touch()
    (spool.directory / "1-2-x.ids.tok.part").touch()
    (spool.directory / "1-2-x.ids.mine.part").touch()
    found = [name_of(path) for path in spool.files(IDS)]
    assert [name and name.window_start for name in found] == [60, START, START + 600]
    assert name_of(spool.directory / "writer.lock") is None
    spool.remove_parts("mine")
    left = {path.name for path in spool.directory.glob("*.part")}
    assert left == {"1-2-x.ids.mine.part"}


def test_notes_of_a_window_stay_apart(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    for number in (2, 10, 1):
        spool.note(SpoolName(START, 60, "seg", number), {"hosts": ["a"], "final": False})
    numbers = [name.number for path in spool.files(NOTE) if (name := name_of(path))]
    assert numbers == [1, 2, 10]
    assert spool.usage()[0] == 0


@pytest.mark.parametrize("state", [State.LOST, State.DROPPED, State.GAP])
def test_a_window_that_is_there_is_not_replaced_by_less(tmp_path: Path, state: State) -> None:
    spool = spool_in(tmp_path, most=spool_file.bytes_of(3))
    path = spool.write(HEAD, [BODY], "a")
    # A later leader has room for it, since it is there, and does not read the ids again.
    assert spool.write(HEAD, iter(lambda: pytest.fail("read"), None), "b") == path
    assert spool.write(replace(HEAD, count=0, state=state, reason="x"), (), "c") == path
    found = SpoolFile.open(path)
    assert (found.head, b"".join(found.pieces())) == (HEAD, BODY)
    assert spool.files(IDS) == [path]


def test_a_window_that_comes_while_its_loss_is_written_stays(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)

    def slow() -> Iterator[bytes]:
        spool.write(HEAD, [BODY], "successor")
        yield b""

    path = spool.write(replace(HEAD, count=0, state=State.LOST), slow(), "deposed")
    assert SpoolFile.open(path).head == HEAD
    assert spool.files(IDS) == [path]
    assert [one.name for one in spool.directory.iterdir()] == [path.name]


def test_ids_replace_what_says_that_there_are_none(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    path = spool.write(replace(HEAD, count=0, state=State.LOST), (), "a")
    spool.write(HEAD, [BODY], "b")
    assert SpoolFile.open(path).head == HEAD
    path.write_bytes(b"damaged")
    spool.write(replace(HEAD, count=0, state=State.LOST), (), "c")
    assert path.read_bytes() == b"damaged", "the writer sets it aside"
    spool.write(HEAD, [BODY], "d")
    assert SpoolFile.open(path).head == HEAD


def test_files_that_were_set_aside_go_when_they_are_old(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    path = spool.write(HEAD, [BODY], "a")
    kept = path.with_name(f"{path.name}{DAMAGED}")
    path.rename(kept)
    os.utime(kept, (0, 0))
    spool.remove_damaged(3_600)
    assert kept.exists(), "set aside just now, whenever it was written"
    spool.remove_damaged(-1)
    assert not kept.exists()
