from __future__ import annotations

import json
import subprocess
import sys
from array import array
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.support import rig
from verve import config
from verve.commands.cli import main
from verve.config.moments import moment
from verve.ledger import ledger

if TYPE_CHECKING:
    from pathlib import Path

MOST, LEAST = 2**63 - 1, -(2**63)


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for row in config.TABLE.values():
        monkeypatch.delenv(row.variable, raising=False)


def _run(*arguments: str, input: bytes | None = None) -> Result:  # noqa: A002 - click's name
    return CliRunner().invoke(main, arguments, input=input)


def test_help_names_every_command_and_setting() -> None:
    shown = _run("--help").stdout
    for command in ("serve", "check", "windows", "config", "segment", "count"):
        assert command in shown
    shown = _run("serve", "--help").stdout
    for row in config.TABLE.values():
        assert row.flag in shown


def test_python_m_verve() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "verve", "--version"], check=True, capture_output=True, text=True
    )
    assert done.stdout.startswith("verve ")
    assert done.stderr == ""


def test_config(tmp_path: Path) -> None:
    shown = _run("config", "--state-dir", str(tmp_path), "--window", "2s").stdout
    rows = {line.split()[0]: line.split()[1:] for line in shown.splitlines()}
    assert rows["window"] == ["2", "flag"]
    assert rows["state_dir"] == [str(tmp_path), "flag"]
    assert rows["port"] == ["8000", "default"]
    assert "VERVE_WINDOW" in _run("config", "--markdown").stdout
    assert 'state_dir = "' in _run("config", "--toml", "--state-dir", str(tmp_path)).stdout


def test_errors_end_with_a_hint() -> None:
    done = _run("config", "--window", "0")
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr == (
        "error: the setting `window` (flag) is out of range: `0`\n  hint: use 1 to 86400\n"
    )


def test_odd_variables_are_told_on_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERVE_WINDW", "2")
    done = _run("config")
    assert done.exit_code == 0
    assert "VERVE_WINDW" not in done.stdout
    assert "did you mean `VERVE_WINDOW`?" in done.stderr


def test_windows(tmp_path: Path) -> None:
    made = rig.settings(tmp_path)
    flags = ["--state-dir", str(made.state_dir)]
    done = _run("windows", *flags)
    assert (done.exit_code, done.stdout) == (0, "")
    assert "no windows in" in done.stderr
    opened = ledger.open_ledger(made)
    opened.record([rig.window(n, 1000 * n, gap=n == 2) for n in range(5)])
    opened.close()
    lines = _run("windows", *flags).stdout.splitlines()
    assert lines[1].split() == ["2027-01-15T08:04:00Z", "60s", "4,000", "0", "0", "0", "0"]
    assert lines[3].endswith("gap")
    assert len(lines) == 6
    found = _run(
        *("windows", *flags, "--json", "--limit", "2"),
        *("--since", str(rig.MINUTE), "--until", "2027-01-15T08:04:00Z"),
    ).stdout.splitlines()
    assert [json.loads(line)["unique"] for line in found] == [3000, 2000]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1800000000", 1_800_000_000),
        ("2027-01-15T08:00:00Z", 1_800_000_000),
        ("2027-01-15T09:00:00+01:00", 1_800_000_000),
        ("2027-01-15 08:00", 1_800_000_000),
        ("2027-01-15", 1_799_971_200),
    ],
)
def test_moments(text: str, seconds: int) -> None:
    assert moment(text) == seconds


def test_a_bad_moment() -> None:
    done = _run("windows", "--since", "yesterday")
    assert done.exit_code == 2
    assert "no time: `yesterday`" in done.stderr


def test_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 10_000.5)
    assert moment("2h") == 10_000 - 7_200


@hypothesis_settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(LEAST, MOST)))
def test_count(ids: list[int]) -> None:
    text = "".join(f"{id}\n" for id in ids).encode()
    binary = b"".join(id.to_bytes(8, "little", signed=True) for id in ids)
    for done in (_run("count", input=text), _run("count", "--binary", "-", input=binary)):
        assert done.exit_code == 0, done.stderr
        assert done.stdout == f"{len(set(ids))}\n"


def test_count_a_large_file(tmp_path: Path) -> None:
    file = tmp_path / "ids"
    file.write_bytes("\n".join(str(n * 7919 % 400_000) for n in range(1_000_000)).encode())
    assert _run("count", str(file)).stdout == "400000\n"
    file.write_bytes(array("q", [n % 300_000 for n in range(1_000_000)]).tobytes())
    assert _run("count", "--binary", str(file)).stdout == "300000\n"


@pytest.mark.parametrize(
    ("arguments", "input_", "said"),
    [
        ([], b"1\n2\nx3\n", "no 64-bit integer in line 3: `x3`"),
        ([], b"1\n" * 3_000_000 + b"9223372036854775808\n", "in line 3000001: `92233720368547758"),
        (["--binary"], b"123456789", "the input ends inside an id"),
        (["--max-ids", "10"], b"".join(b"%d\n" % n for n in range(300_000)), "the ids do not fit"),
        (["--max-ids", "x"], b"", "is no count: `x`"),
        (["/nowhere/x"], b"", "cannot read the file: No such file or directory: `/nowhere/x`"),
    ],
)
def test_count_complains(arguments: list[str], input_: bytes, said: str) -> None:
    done = _run("count", *arguments, input=input_)
    assert done.exit_code == 1
    assert said in done.stderr
    assert done.stdout == ""


def test_segment_show_without_one(tmp_path: Path) -> None:
    done = _run("segment", "show", "--state-dir", str(tmp_path))
    assert done.exit_code == 1
    assert "there is no segment" in done.stderr


def test_segment_show_and_ids(tmp_path: Path) -> None:
    made = rig.settings(tmp_path, window="86400", cluster="blue")
    flags = ["--segment", str(made.segment)]
    with rig.counter_of(made) as counter:
        counter.add_many(range(-500, 500))
        done = _run("segment", "show", *flags)
        assert done.exit_code == 0, done.stderr
        rows = {line[:23].strip(): line[23:] for line in done.stdout.splitlines()}
        assert (rows["unique"], rows["cluster"], rows["window"]) == ("1,000", "blue", "86400 s")
        found = _run("segment", "show", "--ids", *flags).stdout
        assert sorted(map(int, found.split())) == [*range(-500, 500)]


def test_output_that_nobody_reads_is_no_error(tmp_path: Path) -> None:
    made = rig.settings(tmp_path, window="86400", max_ids_per_window="1000000")
    with rig.counter_of(made) as counter:
        counter.add_many(range(500_000))
        command = [sys.executable, "-m", "verve", "segment", "show", "--ids"]
        with subprocess.Popen(
            [*command, "--segment", str(made.segment)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.readline()
            process.stdout.close()
            assert process.stderr.read() == b""
