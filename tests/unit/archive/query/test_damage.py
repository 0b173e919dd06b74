"""A query beside damage: each flipped bit, each truncation and each foreign file of an archive.

The answer is an error that names the file, or it is as before. Whatever happens to a file that an
answer needs is an error.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.archive import places as archive
from verve.archive.errors import ArchiveError
from verve.archive.format import id_file_writer, layout
from verve.archive.format.levels import DAY, HOUR, Level
from verve.archive.query import distinct as query
from verve.archive.query.distinct import distinct
from verve.archive.query.span import Span
from verve.archive.store import open_store
from verve.archive.upkeep.expiry import Keep
from verve.archive.upkeep.forgetting import forget
from verve.archive.upkeep.roll_up import Host
from verve.archive.upkeep.upkeep import Upkeep

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from verve.archive.store import ArchiveStore

START = 1_764_460_800  # 2025-11-30T00:00:00Z
NEXT = START + DAY
SPANS = {
    "day": Span(START, NEXT),
    "hour": Span(NEXT, NEXT + HOUR),
    "minute": Span(NEXT + 5 * HOUR, NEXT + 5 * HOUR + 120),
}
"""What is left of each is one level of files."""
ALL = Span(START, NEXT + 6 * HOUR)
FORGOTTEN = 7


@dataclass(frozen=True)
class Sound:
    """An archive, its files, and the answers of each span."""

    store: ArchiveStore
    files: dict[str, bytes]
    answers: dict[Span, dict[str, Any]]

    def spans(self, name: str) -> list[Span]:
        """The spans whose answers need each byte of a file."""
        if "tombstones" in name:
            return [*SPANS.values(), ALL]
        own = next(SPANS[level] for level in SPANS if f"level={level}" in name)
        # Beside other files nobody reads in which part of its span a roll-up has an id.
        return [own, ALL] if "level=minute" in name else [own]

    def check(self, name: str, span: Span, *, needed: bool) -> None:
        """Ask, while something is wrong with the file called `name`."""
        try:
            answer = distinct(self.store, "", span)
        except ArchiveError as error:
            assert name in str(error), error  # noqa: PT017 - any other error is one, too
        else:
            assert answer.plain() == self.answers[span]
            assert not needed


@pytest.fixture
def sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sound:
    """A day file, an hour file, two windows with their manifest, and a tombstone."""
    monkeypatch.setattr(id_file_writer, "ROW_GROUP", 16)
    store = open_store(tmp_path / "ids")
    host = Host(cluster="", host="one", segment="one0", scratch=tmp_path)

    def put(start: int) -> None:
        for number in range(2):
            archive.put_window(store, tmp_path, start + 60 * number, range(number, 40 + number))

    put(START)
    put(START + HOUR)
    upkeep = Upkeep(store, host, Keep(minutes=0, hours=0))
    for _ in range(3):
        upkeep.turn(NEXT + HOUR)
    put(NEXT)
    upkeep = Upkeep(store, host, Keep(minutes=0))
    for _ in range(2):
        upkeep.turn(NEXT + 2 * HOUR)
    put(NEXT + 5 * HOUR)
    forget(store, "", FORGOTTEN, tmp_path)
    files = {one.name: store.get(one.name) for one in store.list("")}
    kinds = sorted(name.split("/")[1] for name in files)
    assert kinds == ["level=day", "level=hour", *["level=minute"] * 3, "tombstones"]
    answers = {span: distinct(store, "", span).plain() for span in [*SPANS.values(), ALL]}
    assert {one["distinct"] for one in answers.values()} == {40}
    return Sound(store, files, answers)


def test_each_flipped_bit_is_found(sound: Sound, scale: Callable[[int], int]) -> None:
    draw = random.Random(13)
    for number in range(scale(1000)):
        name = sorted(sound.files)[number % len(sound.files)]
        data = bytearray(sound.files[name])
        bit = draw.randrange(len(data) * 8)
        data[bit // 8] ^= 1 << bit % 8
        sound.store.put(name, bytes(data))
        span = draw.choice([*sound.spans(name), ALL])
        sound.check(name, span, needed=span in sound.spans(name))
        sound.store.put(name, sound.files[name])


@pytest.mark.timeout(590)
def test_each_truncation_is_found(
    sound: Sound, monkeypatch: pytest.MonkeyPatch, scale: Callable[[int], int]
) -> None:
    # The file stays as it is: to read it again is in vain.
    monkeypatch.setattr(query, "ATTEMPTS", 1)
    step = 1 if scale(10) == 10 else 101
    for name, data in sound.files.items():
        span = sound.spans(name)[0]
        for length in range(0, len(data), step):
            sound.store.put(name, data[:length])
            sound.check(name, span, needed=True)
        # Something at its end is no better.
        sound.store.put(name, data + b"\0")
        sound.check(name, span, needed=True)
        sound.store.put(name, data)


def test_a_file_in_the_place_of_another_is_found(sound: Sound) -> None:
    for name in sound.files:
        for data in sound.files.values():
            if data == sound.files[name]:
                continue
            sound.store.put(name, data)
            for span in {*sound.spans(name), ALL}:
                sound.check(name, span, needed=True)
        sound.store.put(name, sound.files[name])


@pytest.mark.parametrize("folder", [*Level, "tombstones"])
def test_each_foreign_file_is_found(sound: Sound, tmp_path: Path, folder: str) -> None:
    places = {
        name.split("/")[1].removeprefix("level="): name.rpartition("/")[0] + "/"
        for name in sound.files
    }
    other = open_store(tmp_path / "other")
    name = archive.put_window(other, tmp_path, START, range(9), host="two", cluster="web").name
    pq.write_table(pa.table({"id": [1, 2, 3]}), tmp_path / "foreign")
    kinds = [
        b"these are no ids",
        b"",
        (tmp_path / "foreign").read_bytes(),
        other.get(name),
    ]
    begin = {"minute": NEXT + 5 * HOUR, "hour": NEXT, "day": START, "tombstones": START}[folder]
    length = {"minute": 60, "hour": HOUR, "day": DAY, "tombstones": 60}[folder]
    own = layout.FileName(begin, length, "other", Level.MINUTE, "").name.rpartition("/")[2]
    # A file of a window that no manifest names is one that was just put: it counts nowhere yet.
    unused = {own} if folder == "minute" else set()
    odd = ("notes.txt", ".hidden", "manifest-.json", "a.parquet", f"{own}.bak", own)
    for file, data in itertools.product(odd, kinds):
        path = places[folder] + file
        sound.store.put(path, data)
        sound.check(path, ALL, needed=file not in unused)
        sound.store.delete(path)
    # Nobody reads what lies beside these folders.
    for path in ("notes.txt", "cluster=host/notes.txt", "cluster=host/level=week/x.parquet"):
        sound.store.put(path, kinds[0])
        sound.check(path, ALL, needed=False)
        sound.store.delete(path)
