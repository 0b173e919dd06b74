"""Nothing that a command is given causes a traceback, a wrong hint or a moved cursor."""

from __future__ import annotations

import os
import pwd
import resource
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import click
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from verve import Counter, config
from verve.commands.cli import main
from verve.config.moments import moment, span

WORDS = [
    *("", "-", "--", "0", "-1", "+7", "99999999999999999999", "1e999", "nan", "2h", "..", "2h.."),
    *(
        "..-1",
        "9999-12-31T23:59:59Z",
        "0001-01-01",
        "\u0663",
        "\x1b[2J",
        "é\u2028",
        "%s",
        "~nosuch/x",
    ),
    *("~nosuch/x", "--since", "--until", "--limit", "--json", "--redeliver", "--undelivered"),
    *("--max-ids", "--binary", "--ids", "--markdown", "--toml", "--count", "--window", "--segment"),
    *("--csv", "--ready"),
]
COMMANDS = [
    *(["windows"], ["config"], ["count"], ["segment", "show"], ["callback", "failed"]),
    *(["check", "--url", "http://127.0.0.1:1"], [], ["--help"], ["nosuch"]),
]


def _run(*arguments: str, input_: bytes = b"") -> Result:
    return CliRunner().invoke(main, arguments, input=input_)


def _verve(
    arguments: list[str], *, python: list[str] | None = None, **options: object
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *(python or []), "-m", "verve", *arguments]
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        command, check=False, stderr=subprocess.PIPE, text=True, timeout=60, **options
    )


@hypothesis_settings(max_examples=150, deadline=None)
@given(
    command=st.sampled_from(COMMANDS),
    # No process gets a NUL in its arguments.
    words=st.lists(
        st.sampled_from(WORDS)
        | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8),
        max_size=4,
    ),
    stdin=st.binary(max_size=40),
)
def test_no_arguments_cause_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, command: list[str], words: list[str], stdin: bytes
) -> None:
    state = tmp_path_factory.getbasetemp() / "nothing"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VERVE_STATE_DIR", str(state))
        done = _run(*command, *words, input_=stdin)
    assert done.exit_code in {0, 1, 2}, done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)
    assert "\x1b[2J" not in done.stderr or done.exit_code == 2


@pytest.mark.parametrize(
    "text",
    [
        *("99999999999999999999", "-9223372036854775809", "9" * 5_000, "²", "", "now", "-1h"),
        *("10000-01-01", "2027-13-01", "2027-01-15T08:00:00+99:00"),
    ],
)
def test_text_that_is_no_time(text: str) -> None:
    with pytest.raises(click.BadParameter, match="no time: "):
        moment(text)
    with pytest.raises(click.BadParameter, match=r"no span: |no time: "):
        span(text)
    shown = _run("windows", "--since", text).stderr
    assert len(shown) < 400


# The grammar is the core's: what an accept rejects, the file rejects, at the same line.
@pytest.mark.parametrize(
    "line",
    [
        *(
            "+7",
            "1_000",
            " 7",
            "7 ",
            "\u0667",
            "",
            "-",
            "--7",
            "7.0",
            "0x7",
            "7\0",
            "7\r7",
            "\x0c7",
        ),
        *("9223372036854775808", "-9223372036854775809", "\x1b]0;title\x07", "\u202e7"),
    ],
)
def test_a_line_that_is_no_id(line: str) -> None:
    text = f"1\n-0\r\n{line}\n4\n".encode()
    done = _run("count", input_=text)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "no 64-bit integer in line 3: `" in done.stderr
    assert "--max-ids" not in done.stderr
    assert all(char.isprintable() or char == "\n" for char in done.stderr)
    with Counter() as counter:
        status, headers, _ = counter.http.accept_batch("text", text)
    assert (status, dict(headers)["verve-position"]) == (400, "2")


def test_a_line_that_is_no_id_far_behind() -> None:
    assert "in line 1200001: `x`" in _run("count", input_=b"1234567\n" * 1_200_000 + b"x").stderr


def test_a_line_without_an_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    file = tmp_path / "zeros"
    with file.open("wb") as sparse:
        sparse.truncate(8 << 30)
    limit = 2 << 30
    done = _verve(
        ["count", "--max-ids", "1000", str(file)],
        stdout=subprocess.PIPE,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    assert done.returncode == 1
    assert "no 64-bit integer in line 1: `\\x00" in done.stderr
    assert len(done.stderr) < 1_000


def test_leading_zeros_are_no_bad_line() -> None:
    assert _run("count", input_=b"0" * 100_000 + b"7\n7\n").stdout == "1\n"


def test_a_binary_file_that_ends_inside_an_id() -> None:
    done = _run("count", "--binary", input_=bytes(17))
    assert "the input ends inside an id, after `2` ids" in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["--help"], ["config", "--markdown"], ["count"]])
def test_a_full_output(arguments: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = _verve(arguments, stdout=full, stdin=subprocess.DEVNULL)
    assert done.returncode == 1
    assert done.stderr == "error: cannot write the output: No space left on device\n"


def test_closed_streams(tmp_path: Path) -> None:
    ledger = tmp_path / "state"
    shell = f'exec "$0" -m verve "$@" --state-dir {ledger}'
    for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        command = ["sh", "-c", f"{shell} {closed}", sys.executable, "windows"]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, closed
        assert "Traceback" not in done.stderr
    command = ["sh", "-c", 'exec "$0" -m verve count <&-', sys.executable]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: there is no standard input\n  hint: ")


def test_an_encoding_without_the_character() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    done = _verve(["config", "--source", "5 \u20ac"], env=environment, stdout=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, "")
    assert "5 \\u20ac" in done.stdout


def test_no_colour_where_nobody_wants_it() -> None:
    for wish in ({"NO_COLOR": "1"}, {"TERM": "dumb"}, {}):
        done = _verve(["count", "/nowhere"], env={**os.environ, **wish}, stdout=subprocess.PIPE)
        assert done.stderr.startswith("error: cannot read the file: ")


def test_help_without_docstrings() -> None:
    done = _verve(["--help"], python=["-OO"], stdout=subprocess.PIPE)
    for command in main.commands.values():
        assert command.help
        assert command.help.split(".")[0][:40] in done.stdout
    shown = _verve(["callback", "--help"], python=["-OO"], stdout=subprocess.PIPE).stdout
    assert "Send one callback to URL" in shown


def _no_such_user(_key: object) -> NoReturn:
    raise KeyError


def test_a_user_without_a_name_and_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "STATE_DIRECTORY", "XDG_STATE_HOME", "VERVE_STATE_DIR", "USER", "LOGNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 12_345)
    monkeypatch.setattr(os, "getuid", lambda: 12_345)
    monkeypatch.setattr(pwd, "getpwuid", _no_such_user)
    done = _run("config")
    assert done.exit_code == 1
    assert "needs a home directory that is not known" in done.stderr
    assert "VERVE_STATE_DIR" in done.stderr
    monkeypatch.setenv("XDG_STATE_HOME", "/srv")
    assert "/srv/verve" in _run("config").stdout


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("~nosuch/x", "needs a home directory that is not known: `~nosuch/x`"),
        (os.fsdecode(b"/srv/\xff"), "is not UTF-8: `/srv/\\udcff`"),
        ("/srv/\x1b[2J\n", "has a control character: `/srv/\\x1b[2J\\n`"),
    ],
)
@pytest.mark.parametrize("row", ["state_dir", "segment", "config", "callback_ca"])
def test_paths_that_cannot_be_used(row: str, path: str, problem: str) -> None:
    done = _run("config", config.TABLE[row].flag, path)
    assert done.exit_code == 1
    assert f"the setting `{row}` (flag) {problem}" in done.stderr


def test_derived_directories_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VERVE_STATE_DIR", raising=False)
    monkeypatch.setenv("STATE_DIRECTORY", os.fsdecode(b"/var/lib/\xff"))
    assert "the default of the setting `state_dir` is not UTF-8" in _run("config").stderr


def test_a_working_directory_that_is_gone(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    shell = 'cd "$1" && rmdir "$1" && shift && exec "$0" -m verve config --state-dir "$@"'
    command = ["sh", "-c", shell, sys.executable, str(gone)]
    done = subprocess.run([*command, "x"], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "is relative to a working directory that cannot be used" in done.stderr
    gone.mkdir()
    done = subprocess.run(
        [*command, "/srv/x"], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
