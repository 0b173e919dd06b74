"""Ledgers and spills with damage, opened by the real code."""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING
from unittest import mock

from tests.support.crashes.damage import Outcome, Outcomes, judged, some_damage
from tests.support.rig import MINUTE, window
from tests.unit.cluster.test_spill import SomeIds, read_all
from verve.cluster.spill import spill_file
from verve.cluster.spill.spill_file import DamagedError, NewerError, SpilledIds, SpillHead
from verve.ledger import ledger
from verve.ledger.changes import changes
from verve.ledger.ledger import Ledger, LedgerError, LedgerFailure
from verve.log import skipped

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable
    from pathlib import Path

    from verve.windows.window import Window

WINDOWS = 40
_YEAR = 365 * 86_400
_SPILLED = list(range(-60, 60))


def spill_outcomes(directory: Path, count: int, chance: random.Random) -> Outcomes:
    """What `count` damaged spills are read as."""
    path = directory / "one.ids"
    head = SpillHead(MINUTE, 60, len(_SPILLED), "0123456789abcdef")
    spill_file.write(path, head, SomeIds(_SPILLED, piece=50))
    whole = path.read_bytes()
    outcomes = Outcomes()
    for _ in range(count):
        path.write_bytes(some_damage(len(whole), chance).apply(whole))
        try:
            spilled = SpilledIds.open(path)
            is_right = spilled.head == head and read_all(spilled) == _SPILLED
        except (DamagedError, NewerError):
            outcomes[Outcome.ERROR] += 1
        else:
            outcomes[Outcome.RIGHT if is_right else Outcome.WRONG] += 1
    return outcomes


class Ledgers:
    """A sound ledger, at rest or in use, of which damaged copies are opened."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "damaged"
        made = directory / "sound" / ledger.FILE_NAME
        self.expected = {MINUTE + 60 * number: 100 + number for number in range(WINDOWS)}
        opened = Ledger(made, _YEAR)
        for number in range(WINDOWS):
            opened.record([window(number, 100 + number, requests=500)], sinks=["log"])
        in_use = _files(made)
        opened.close()
        self._sound = [_files(made), in_use]

    def damaged(self, chance: random.Random) -> tuple[Outcome, str]:
        """The outcome of one damage, and what it was."""
        files = dict(chance.choice(self._sound))
        # By bytes, so that each file has its share.
        name = chance.choices(list(files), [len(content) for content in files.values()])[0]
        damage = some_damage(len(files[name]), chance)
        files[name] = damage.apply(files[name])
        what = f"{damage} of {' and '.join(files)} in {name}"
        try:
            return self.opened(files), what
        except Exception as error:
            raise AssertionError(f"{what}: {error!r}") from error

    def opened(self, files: dict[str, bytes]) -> Outcome:
        """What the real code reads from these files, and whether it goes on afterwards."""
        shutil.rmtree(self._directory, ignore_errors=True)
        self._directory.mkdir()
        for name, content in files.items():
            (self._directory / name).write_bytes(content)
        path = self._directory / ledger.FILE_NAME
        with mock.patch.object(skipped, "tell") as tell:
            outcome = self._read(path)
        # An entry that is left out is told of.
        return Outcome.ERROR if outcome is Outcome.FEWER and tell.called else outcome

    def _read(self, path: Path) -> Outcome:
        outcome = Outcome.RIGHT
        try:
            # A worker reads before the leader opens it.
            outcome = self._judged(ledger.rows(path))
            with contextlib.closing(Ledger(path, _YEAR)) as opened:
                found = [self._judged(windows) for windows in _all_readers(path, opened)]
                if Outcome.WRONG in found:
                    outcome = Outcome.WRONG
                opened.record([window(WINDOWS, 9)], sinks=["log"])
                opened.expire(MINUTE)
                # Beside a key that is out of order it may not be found: left out, and told of.
                later = {one.window_start: one.unique for one in ledger.rows(path)}
                assert later.get(MINUTE + 60 * WINDOWS, 9) == 9
        except LedgerError as error:
            outcome = Outcome.WRONG if outcome is Outcome.WRONG else Outcome.ERROR
            self._go_on(path, error)
        return outcome

    def _judged(self, windows: Iterable[Window]) -> Outcome:
        return judged({one.window_start: one.unique for one in windows}, self.expected)

    def _go_on(self, path: Path, error: LedgerError) -> None:
        """A newer ledger is for a person to judge; any other is put aside, and a new one works."""
        if error.kind is LedgerFailure.NEWER:
            return
        assert error.kind is LedgerFailure.DAMAGED, error
        ledger.set_aside(path)
        with contextlib.closing(Ledger(path, _YEAR)) as opened:
            opened.record([window(1, 7)])
            assert ledger.rows(path) == [window(1, 7)]


def _all_readers(path: Path, opened: Ledger) -> list[list[Window]]:
    """What history, stream, the command and the outbox read."""
    changed = changes(path, None, 0, 1_000)
    return [
        ledger.rows(path),
        [] if changed is None else [change.window for change in changed.changes],
        [one for one, _ in ledger.undelivered(path)],
        opened.undelivered("log"),
    ]


def _files(path: Path) -> dict[str, bytes]:
    """The ledger and its write-ahead log."""
    found = {}
    for name in (path.name, f"{path.name}-wal"):
        with contextlib.suppress(FileNotFoundError):
            found[name] = path.with_name(name).read_bytes()
    return found
