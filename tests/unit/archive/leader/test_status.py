"""The status file of the archive, and what metrics and `verve check` make of it."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from tests.support import rig
from verve.commands.check import _archive
from verve.status import archive_status
from verve.status.archive_status import MOST, ArchiveReport, ArchiveStatus, Unkept

if TYPE_CHECKING:
    from pathlib import Path


def test_what_is_written_is_read_and_totals_go_on(tmp_path: Path) -> None:
    settings = rig.settings(tmp_path)
    settings.state_dir.mkdir()
    assert archive_status.of(settings) == ArchiveStatus()
    for term in (1, 2):
        report = ArchiveReport(settings)
        report.count("archived")
        report.count("dropped")
        report.add_unkept(Unkept(60 * term, 60, "dropped", "no room" * 50))
        report.write(ArchiveStatus(waiting=3, waiting_since=60, spool_bytes=9, error="away"))
        found = archive_status.of(settings)
        assert (found.archived, found.dropped) == (term, term)
        assert [one.window_start for one in found.unkept] == [60, 120][:term]
    assert found.by_state() == {"archived": 2, "empty": 0, "gap": 0, "lost": 0, "dropped": 2}
    assert (found.waiting, found.waiting_since, found.error) == (3, 60, "away")
    assert found.written is not None


def test_the_time_of_the_upkeep_goes_on(tmp_path: Path) -> None:
    settings = rig.settings(tmp_path)
    settings.state_dir.mkdir()
    before = int(time.time())
    ArchiveReport(settings).write(ArchiveStatus())
    # A writer that never completes it is behind from the first leader on.
    assert before <= archive_status.of(settings).kept_up <= time.time()
    report = ArchiveReport(settings)
    report.kept_up = 1_800_000_000
    report.write(ArchiveStatus())
    ArchiveReport(settings).write(ArchiveStatus(waiting=1))
    assert archive_status.of(settings).kept_up == 1_800_000_000


def test_the_file_stays_small(tmp_path: Path) -> None:
    settings = rig.settings(tmp_path)
    settings.state_dir.mkdir()
    report = ArchiveReport(settings)
    for number in range(2 * MOST):
        report.add_unkept(Unkept(1_800_000_000 + number, 1, "dropped", "x" * 500))
    report.write(ArchiveStatus())
    found = archive_status.of(settings).unkept
    assert len(found) == MOST
    assert found[-1].window_start == 1_800_000_000 + 2 * MOST - 1


def test_what_another_program_wrote_there_is_left_out(tmp_path: Path) -> None:
    settings = rig.settings(tmp_path)
    settings.state_dir.mkdir()
    odd = {
        "archived": "many",
        "waiting": 2,
        "error": 7,
        "unkept": [[1, 2], [60, 60, "kept", "x"], [60, 60, "lost", "x"], 5],
    }
    (settings.state_dir / archive_status.FILE_NAME).write_text(json.dumps(odd))
    found = archive_status.of(settings)
    assert (found.archived, found.waiting, found.error) == (0, 2, None)
    assert found.unkept == (Unkept(60, 60, "lost", "x"),)


def test_the_check_of_the_archive(tmp_path: Path) -> None:
    settings = rig.settings(tmp_path, archive="/srv/ids")
    settings.state_dir.mkdir()
    assert not _archive(settings).ok
    report = ArchiveReport(settings)
    well = ArchiveStatus(waiting=2)
    report.write(well)
    assert _archive(settings).detail == "up, 2 windows wait for it: `/srv/ids`"
    for bad in (replace(well, error="away", attempts=3), replace(well, spool_error="full")):
        report.write(bad)
        found = _archive(settings)
        assert not found.ok
        assert (bad.error or bad.spool_error or "") in found.detail
    report.count("dropped")
    report.write(well)
    assert (_archive(settings).ok, _archive(settings).warns) == (True, True)
    assert "it lacks 1 windows" in _archive(settings).detail
