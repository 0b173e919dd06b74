"""`verve distinct` and `verve archive forget`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from tests.support.archive import places as archive
from verve.archive.format.layout import folder_of
from verve.archive.format.levels import Level
from verve.archive.store import open_store
from verve.commands.cli import main

if TYPE_CHECKING:
    from pathlib import Path

HOUR = 1_764_504_000  # 2025-11-30T12:00:00Z
SPAN = "2025-11-30T12:00:00Z..2025-11-30T12:02:00Z"


@pytest.fixture
def place(tmp_path: Path) -> str:
    """An archive of two minutes."""
    store = open_store(tmp_path / "ids")
    archive.put_window(store, tmp_path, HOUR, range(1000))
    archive.put_window(store, tmp_path, HOUR + 60, range(500, 1500))
    return str(tmp_path / "ids")


def run(place: str, *arguments: str) -> Result:
    """Run the command on an archive."""
    return CliRunner().invoke(main, [*arguments, "--archive", place])


def test_a_count_is_printed(place: str) -> None:
    done = run(place, "distinct", SPAN)
    assert done.stdout == f"{SPAN}  1500\n"
    assert (
        done.stderr == "note: without a cluster nobody knows whether other hosts counted ids, too\n"
    )
    assert done.exit_code == 0


def test_forms_for_programs(place: str) -> None:
    found = json.loads(run(place, "distinct", SPAN, "--json").stdout)
    assert (found["distinct"], found["complete"], found["archive_hosts"]) == (1500, True, ["one"])
    lines = run(place, "distinct", SPAN, "--by", "minute", "--csv").stdout.splitlines()
    assert lines == [
        "span_start,span_end,distinct,complete",
        "2025-11-30T12:00:00Z,2025-11-30T12:01:00Z,1000,true",
        "2025-11-30T12:01:00Z,2025-11-30T12:02:00Z,1000,true",
    ]


def test_what_is_missing_is_named(place: str) -> None:
    done = run(place, "distinct", "2025-11-30T11:59:00Z..2025-11-30T12:01:00Z")
    assert done.stdout.endswith("  1000  incomplete\n")
    assert done.stderr.startswith("missing: 1 window of host `one` in 2025-11-30T11:59:00Z..")
    assert "unobserved" in done.stderr
    assert done.exit_code == 3


def test_explain_names_the_files(place: str) -> None:
    done = run(place, "distinct", SPAN, "--explain")
    first, *files = done.stdout.splitlines()
    assert first == f"{SPAN}  2 files, 2000 rows"
    assert [line.rpartition("  ")[2] for line in files] == ["1000 rows"] * 2


def test_an_age_means_the_window_it_falls_into(place: str) -> None:
    for span in ("2h..1h", "3m.."):
        done = run(place, "distinct", span)
        assert done.exit_code == 3, done.output
        assert "unobserved" in done.stderr


@pytest.mark.parametrize(
    ("span", "problem"),
    [
        ("2025-11-30T12:00:30Z..2025-11-30T12:02:00Z", "hint: ask for `2025-11-30T12:01:00Z.."),
        ("2025-11-30T12:02:00Z..2025-11-30T12:00:00Z", "ends before it begins"),
        ("..2025-11-30T12:00:00Z", "needs its start"),
        ("2025-11-30T12:00:00Z..2125-11-30T12:00:00Z", "has not ended"),
        ("today..", "no time"),
    ],
)
def test_a_span_that_cannot_be_answered(place: str, span: str, problem: str) -> None:
    done = run(place, "distinct", span)
    assert problem in done.stderr
    assert done.exit_code in {1, 2}


def test_without_an_archive_the_hint_names_the_setting() -> None:
    done = CliRunner().invoke(main, ["distinct", SPAN])
    assert "there is no archive" in done.stderr
    assert "VERVE_ARCHIVE" in done.stderr
    assert done.exit_code == 1


def test_an_id_is_forgotten(place: str) -> None:
    done = run(place, "archive", "forget", "--id", "700")
    assert "removed from 2 of 2 files" in done.stdout
    assert "hidden by `cluster=host/tombstones/700.json`" in done.stdout
    for word in ("spool", "segment", "spill", "Redis", "versions", ".part", "*.damaged"):
        assert word in done.stdout
    assert run(place, "distinct", SPAN).stdout.endswith("  1499\n")
    again = json.loads(run(place, "archive", "forget", "--id", "700", "--json").stdout)
    assert (again["files"], again["rewritten"]) == (2, [])


def test_files_that_forget_does_not_read_are_named(place: str, tmp_path: Path) -> None:
    unfinished = tmp_path / "ids/cluster=host/.0.part"
    damaged = tmp_path / "state/archive/1764504000-60-a1.ids.damaged"
    damaged.parent.mkdir(parents=True)
    for path in (unfinished, damaged):
        path.write_bytes(b"ids")
    asked = ("archive", "forget", "--id", "700", "--state-dir", str(tmp_path / "state"))
    assert f"  `{damaged}`\n" in run(place, *asked).stdout
    again = json.loads(run(place, *asked, "--json").stdout)
    assert again["may_still_be_in"][-2:] == [f"`{unfinished}`", f"`{damaged}`"]


def test_a_damaged_archive_is_an_error_with_its_file(place: str) -> None:
    folder = folder_of("", Level.MINUTE, HOUR)
    open_store(place).put(f"{folder}x", b"")
    done = run(place, "distinct", SPAN)
    assert f"`{folder}x`" in done.stderr
    assert done.exit_code == 1
