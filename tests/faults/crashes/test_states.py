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
from verve.ledger.ledger import Ledger, LedgerError, LedgerFailure

if TYPE_CHECKING:
    from collections.abc import Callable

YEAR = 365 * 86_400
SUBSETS = 6
OLDEST = 98
"""The number of the first window that is not dropped."""
SPILLED = (100, 1_500, 300, 0)
"""The ids of each spill; the second one is removed."""
_LEDGER = f"""
import sqlite3
from verve.ledger.ledger import Ledger, LedgerError, LedgerFailure
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
# All that is older than an hour is dropped.
opened = Ledger(path, 3_600)
opened.expire({MINUTE} + 60 * (60 + {OLDEST}))
mark("dropped 0;")
opened.close()
"""
_ASIDE = f"""
from verve.ledger.ledger import Ledger, LedgerError, set_aside
from verve.windows.window import Window

def record(opened, *numbers):
    opened.record([
        Window(window_start={MINUTE} + 60 * number, window_seconds=60, unique=number * 7)
        for number in numbers
    ])
    for number in numbers:
        mark(f"{{number}} {{number * 7}};")

path = directory / "state" / "ledger.sqlite3"
opened = Ledger(path, {YEAR})
record(opened, *range(100))
opened.close()
opened = Ledger(path, {YEAR})
record(opened, 100)
# The log of this one stays, as after a kill.
kept = opened
with path.open("r+b", buffering=0) as file:
    mark("damaged 0;")
    # All pages but the first; the log has some of them.
    for at in range(4_096, path.stat().st_size, 4_096):
        os.pwrite(file.fileno(), b"\\xff" * 4_096, at)
    os.fsync(file.fileno())
try:
    Ledger(path, {YEAR})
except LedgerError as error:
    set_aside(path)
else:
    sys.exit("the damage is not seen")
opened = Ledger(path, {YEAR})
mark("renewed 0;")
record(opened, 200, 201)
os._exit(0)
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
for number, count in enumerate({SPILLED}):
    spilled = spills.write({MINUTE} + 60 * number, Ids(count))
    mark(f"{{number}} {{count}};")
    if number == 1:
        # Redis has its ids.
        mark("1 -1;")
        spills.remove(spilled)
"""


def _promises(state: State) -> dict[str, int]:
    text = "".join(state.promised)
    return {name: int(count) for name, count in (one.split() for one in text.split(";")[:-1])}


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
    promised = _promises(state)
    is_dropped = promised.pop("dropped", None) is not None
    here = {number for number in map(int, promised) if window(number).key in rows}
    # They are dropped in one transaction, which may be there before it is promised.
    old = {number for number in map(int, promised) if number < OLDEST}
    assert old & here in (set(), *([] if is_dropped else [old])), state.what
    for number in here if here & old else here | set(map(int, promised)) - old:
        # A revision on its way may be there too.
        assert rows.get(window(number).key, -1) >= promised[str(number)], (state.what, number)
    opened.record([window(1_000, 9)])
    opened.close()
    assert ledger.rows(path)[0].unique == 9


def _check_aside(directory: Path, state: State) -> None:
    """A damaged ledger is replaced once, and the new one keeps what it is given."""
    path = directory / "state" / ledger.FILE_NAME
    promised = _promises(state)
    try:
        opened = Ledger(path, YEAR)
    except LedgerError as error:
        if error.kind is not LedgerFailure.DAMAGED:
            raise
        assert "damaged" in promised, state.what
        assert "renewed" not in promised, state.what
        ledger.set_aside(path)
        opened = Ledger(path, YEAR)
    rows = {row.key: row.unique for row in ledger.rows(path)}
    for key, unique in rows.items():
        assert unique == 7 * (key.window_start - MINUTE) // 60, state.what
    for number in promised.keys() - {"damaged", "renewed"}:
        if int(number) >= 200 or "damaged" not in promised:
            assert window(int(number)).key in rows, (state.what, number)
    opened.record([window(1_000, 9)])
    opened.close()
    assert ledger.rows(path)[0].unique == 9


def _check_spills(directory: Path, state: State) -> None:
    promised = _promises(state)
    told = EventRecorder()
    spills = Spills(settings(directory), IDENTITY, told)
    found = {spilled.head.window_start: spilled for spilled in spills.find()}
    for number, count in enumerate(SPILLED):
        spilled = found.pop(MINUTE + 60 * number, None)
        if spilled is None:
            # One that is removed may come back: its ids are sent once more.
            assert promised.get(str(number), -1) == -1, state.what
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


def test_a_damaged_ledger_is_replaced_once(
    tmp_path: Path, scale: Callable[[int], int], record_property: Callable[[str, object], None]
) -> None:
    checked = _check_all(tmp_path, _ASIDE, scale(100) / 100, _check_aside)
    record_property("states", checked)
    assert checked > scale(300)


def test_spills_have_what_they_were_given(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    checked = _check_all(tmp_path, _SPILLS, 1, _check_spills)
    record_property("states", checked)
    assert checked > 40
