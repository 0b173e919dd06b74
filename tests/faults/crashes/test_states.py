"""A loss of power at any call: the ledger and spills have what was promised, and nothing else."""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.cluster.in_process import EventRecorder
from tests.support.crashes.record import recorded
from tests.support.crashes.segments import MEMORY
from tests.support.crashes.states import State, states
from tests.support.rig import MINUTE, settings, window
from tests.unit.cluster.test_spill import IDENTITY, read_all
from verve.cluster.spill.spills import Spills
from verve.ledger import ledger
from verve.ledger.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable

YEAR = 365 * 86_400
SUBSETS = 6
_LEDGER = f"""
import sqlite3
from verve.ledger.ledger import Ledger
from verve.windows.window import Window

def record(opened, *numbers, revision=0, unique=0):
    opened.record([
        Window(window_start={MINUTE} + 60 * number, window_seconds=60, unique=number * 7 + unique,
               revision=revision)
        for number in numbers
    ], sinks=["log", "kafka"])
    for number in numbers:
        mark(f"{{number}} {{number * 7 + unique}};")

path = directory / "state" / "ledger.sqlite3"
opened = Ledger(path, {YEAR})
record(opened, *range(150))
for number in range(150, 156):
    record(opened, number)
# Frames of the log go to the file, and the log begins again.
sqlite3.connect(path).execute("PRAGMA wal_checkpoint(FULL)").close()
record(opened, 156)
record(opened, 3, 77, 151, revision=1, unique=1_000)
opened.close()
opened = Ledger(path, {YEAR})
record(opened, 157)
record(opened, 3, revision=2, unique=2_000)
opened.close()
"""
_SPILLS = f"""
import struct
from verve import config
from verve.cluster.spill.spills import Spills

class Ids:
    def __init__(self, count):
        self.count = count
    def read(self, position):
        end = min(position + 40, self.count)
        groups = {{}}
        for id in range(position, end):
            groups.setdefault(id % 16, []).append(struct.pack("<q", id))
        return groups, end if end < self.count else None

class Notices:
    def put(self, *_, **__):
        pass

files = {{"state_dir": str(directory / "state"), "segment": str(directory / "segment")}}
spills = Spills(config.load(files, {{}}), "{IDENTITY}", Notices())
for number, count in enumerate((100, 1_500, 0)):
    spilled = spills.write({MINUTE} + 60 * number, Ids(count))
    mark(f"{{number}} {{count}};")
"""


def _promises(state: State) -> list[tuple[int, int]]:
    text = "".join(state.promised)
    return [(int(a), int(b)) for a, b in (pair.split() for pair in text.split(";")[:-1])]


def _check_ledger(directory: Path, state: State) -> None:
    """The real code opens it, and no row has a count that was never recorded."""
    path = directory / "state" / ledger.FILE_NAME
    # A reader may come first, and has to put the file in order then.
    before = ledger.rows(path)
    opened = Ledger(path, YEAR)
    rows = {row.key: row.unique for row in ledger.rows(path)}
    assert rows == {row.key: row.unique for row in before}, state.what
    for key, unique in rows.items():
        number = (key.window_start - MINUTE) // 60
        later = {7 * number + 1_000, 7 * number + 2_000} if number in {3, 77, 151} else set()
        assert unique in {7 * number} | later, state.what
    for number, unique in dict(_promises(state)).items():
        # A revision on its way may be there too.
        assert rows.get(window(number).key, -1) >= unique, (state.what, number)
    opened.record([window(1_000, 9)])
    opened.close()
    assert ledger.rows(path)[0].unique == 9


def _check_spills(directory: Path, state: State) -> None:
    promised = dict(_promises(state))
    told = EventRecorder()
    spills = Spills(settings(directory), IDENTITY, told)
    found = {spilled.head.window_start: spilled for spilled in spills.find()}
    for number, count in enumerate((100, 1_500, 0)):
        spilled = found.pop(MINUTE + 60 * number, None)
        if spilled is None:
            assert number not in promised, state.what
        else:
            assert read_all(spilled) == list(range(count)), state.what
    assert not found
    # Nothing to do a second time: what could not be read was put aside.
    told.events.clear()
    spills.find()
    assert not told.names(), state.what


def _check_all(
    tmp_path: Path,
    script: str,
    share: float,
    check: Callable[[Path, State], None],
) -> int:
    """The number of states, a share of all by chance."""
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    calls = recorded(tmp_path, script)
    checked = 0
    directory = Path(tempfile.mkdtemp(dir=MEMORY)) / "crashed"
    for state in states(calls, chance, SUBSETS, share):
        directory.mkdir()
        state.write(directory)
        try:
            check(directory, state)
        except Exception as error:
            raise AssertionError(f"seed {seed}, {state.what}: {error!r}") from error
        shutil.rmtree(directory)
        checked += 1
    directory.parent.rmdir()
    return checked


@pytest.mark.timeout(900)  # at full counts
def test_the_ledger_has_what_it_recorded(
    tmp_path: Path, scale: Callable[[int], int], record_property: Callable[[str, object], None]
) -> None:
    checked = _check_all(tmp_path, _LEDGER, scale(100) / 100, _check_ledger)
    record_property("states", checked)
    assert checked > scale(1_000)


def test_spills_have_what_they_were_given(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    checked = _check_all(tmp_path, _SPILLS, 1, _check_spills)
    record_property("states", checked)
    assert checked > 40
