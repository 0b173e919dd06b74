"""`verve windows --csv` and `--follow`."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from tests.support import rig
from verve.commands.cli import main
from verve.commands.window_follow import WATCHED
from verve.ledger import ledger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from verve.ledger.ledger import Ledger


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Ledger]:
    """The ledger of `rig.settings(tmp_path)`, open as the leader has it."""
    found = ledger.open_ledger(rig.settings(tmp_path))
    yield found
    found.close()


def _flags(directory: Path) -> list[str]:
    return ["--state-dir", str(rig.settings(directory).state_dir)]


class _Follower:
    """`verve windows --follow` on the ledger of a test."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "verve", "windows", "--follow"),
                *_flags(directory),
                *arguments,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A shell's background job ignores SIGINT, and so would what it starts.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
        )

    def line(self) -> str:
        """The next line; the limit of a test ends a wait for one that does not come."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def end(self, number: signal.Signals) -> tuple[int, str]:
        """End it; return its exit status and what it said on standard error."""
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=30)
        return self.process.returncode, said


@pytest.fixture
def follower(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[_Follower]:
    """A follower with the arguments of the test's parameter."""
    found = _Follower(tmp_path, *request.param)
    yield found
    found.process.kill()
    found.process.communicate()


def test_csv(tmp_path: Path, opened: Ledger) -> None:
    opened.record([rig.window(0, 7, late=2), rig.window(1, 0, gap=True, revision=3, host_unique=0)])
    done = CliRunner().invoke(main, ["windows", "--csv", *_flags(tmp_path)])
    newest, oldest = csv.DictReader(done.stdout.splitlines())
    assert (newest["gap"], newest["revision"], newest["host_unique"]) == ("true", "3", "0")
    assert (oldest["unique"], oldest["late"], oldest["host_unique"]) == ("7", "2", "")
    assert oldest["window_start"] == "2027-01-15T08:00:00Z"
    assert list(oldest) == list(rig.window(host_unique=1).as_json())


def test_csv_of_what_a_sink_has_not_taken(tmp_path: Path, opened: Ledger) -> None:
    opened.record([rig.window(0, 7)], sinks=["log", "kafka"])
    done = CliRunner().invoke(main, ["windows", "--csv", "--undelivered", *_flags(tmp_path)])
    (row,) = csv.DictReader(done.stdout.splitlines())
    assert row["undelivered"] == "kafka log"


def test_csv_of_no_window_is_its_head(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["windows", "--csv", *_flags(tmp_path)])
    assert done.stdout.startswith("window_start,window_seconds,unique,")
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize("follower", [("--json", "--limit", "2")], indirect=True)
def test_follow_prints_new_windows_and_revisions(follower: _Follower, opened: Ledger) -> None:
    opened.record([rig.window(0, 5)])
    assert json.loads(follower.line())["unique"] == 5
    opened.record([rig.window(1, 6), rig.window(2, 7)])
    assert [json.loads(follower.line())["unique"] for _ in range(2)] == [6, 7]
    # A revision of an older window, a record that replaces nothing, and a new window.
    opened.record([rig.window(0, 9, revision=2), rig.window(1, 8)])
    opened.record([rig.window(3, 10)])
    found = [json.loads(follower.line()) for _ in range(2)]
    assert [(one["unique"], one["revision"]) for one in found] == [(9, 2), (10, 1)]
    assert follower.end(signal.SIGINT) == (0, "")


@pytest.mark.parametrize("follower", [("--json",)], indirect=True)
def test_follow_waits_for_a_ledger(follower: _Follower, tmp_path: Path) -> None:
    path = ledger.path_of(rig.settings(tmp_path))
    waits = f"waiting for a ledger: `{path}`; hint: `--state-dir` names its directory\n"
    assert follower.process.stderr is not None
    assert follower.process.stderr.readline() == waits
    made = ledger.open_ledger(rig.settings(tmp_path))
    made.record([rig.window(0, 5)])
    made.close()
    assert json.loads(follower.line())["unique"] == 5
    # The leader sets a damaged ledger aside, and makes another.
    path.rename(path.with_suffix(".aside"))
    made = ledger.open_ledger(rig.settings(tmp_path))
    made.record([rig.window(1, 6)])
    made.close()
    assert json.loads(follower.line())["unique"] == 6
    # It may have looked while there was none.
    status, said = follower.end(signal.SIGINT)
    assert status == 0
    assert said in {"", waits}


@pytest.mark.parametrize("follower", [("--json",)], indirect=True)
def test_follow_loses_nothing_while_its_reader_is_slow(follower: _Follower, opened: Ledger) -> None:
    opened.record([rig.window(0, 1)])
    assert json.loads(follower.line())["unique"] == 1
    # Far more than a pipe holds, and than it compares: it is blocked, and finds the rest later.
    many = 2 * WATCHED
    for first in range(1, many, 100):
        opened.record([rig.window(n, n + 1) for n in range(first, first + 100)])
    opened.record([rig.window(5, 7_000, revision=2)])
    # The fifth may have been printed before its revision, and is printed again then.
    counted: dict[str, int] = {}
    while len(counted) < many or 7_000 not in counted.values():
        one = json.loads(follower.line())
        counted[one["window_start"]] = one["unique"]
    assert sorted(counted.values()) == sorted({*range(2, many + 2)} - {6} | {7_000})
    assert follower.end(signal.SIGINT) == (0, "")


@pytest.mark.parametrize("follower", [("--limit", "2"), ("--limit", "2", "--csv")], indirect=True)
def test_follow_begins_with_the_closed_windows(follower: _Follower, opened: Ledger) -> None:
    assert follower.line().startswith("window")
    opened.record([rig.window(n, n) for n in range(3)])
    starts = [follower.line()[:20] for _ in range(2)]
    # The first look was before the record or after it, by chance.
    if starts[0] == "2027-01-15T08:00:00Z":
        starts = [starts[1], follower.line()[:20]]
    assert starts == ["2027-01-15T08:01:00Z", "2027-01-15T08:02:00Z"]
    assert follower.end(signal.SIGINT) == (0, "")


@pytest.mark.parametrize("follower", [("--csv",)], indirect=True)
def test_follow_ends_when_its_reader_is_gone(follower: _Follower, opened: Ledger) -> None:
    assert opened is not None
    assert follower.line().startswith("window_start")
    assert follower.process.stdout is not None
    assert follower.process.stderr is not None
    # Nothing is written to the ledger: it notices without a line to print.
    follower.process.stdout.close()
    assert follower.process.wait(30) == 0
    assert follower.process.stderr.read() == ""


def test_follow_into_a_shell_pipe_ends_with_its_reader(tmp_path: Path, opened: Ledger) -> None:
    opened.record([rig.window(n, n) for n in range(3)])
    command = '"$@" | head -n 2; echo "${PIPESTATUS[0]}"'
    done = subprocess.run(
        [
            *("bash", "-c", command, "-", sys.executable, "-m", "verve", "windows"),
            *("--follow", "--csv", *_flags(tmp_path)),
        ],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ,
    )
    head, first, status = done.stdout.splitlines()
    assert head.startswith("window_start")
    assert first.startswith("2027-01-15T08:00:00Z")
    assert status == "0"
    assert done.stderr == ""


@pytest.mark.parametrize("other", [["--undelivered"], ["--until", "1h"], ["--redeliver", "2h..1h"]])
def test_follow_excludes_options(tmp_path: Path, other: list[str]) -> None:
    done = CliRunner().invoke(main, ["windows", "--follow", *other, *_flags(tmp_path)])
    assert done.exit_code == 2
    assert "excludes" in done.stderr
