"""The reference of the command line, completion, and what `--help` shows."""

from __future__ import annotations

import os
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from verve import config
from verve.commands import reference
from verve.commands.cli import main


def _run(*arguments: str) -> str:
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_reference_has_every_command_and_status() -> None:
    text = reference.markdown()

    def names(command: click.Command, name: str) -> list[str]:
        below = command.commands.items() if isinstance(command, click.Group) else ()
        return [name, *(found for one, child in below for found in names(child, f"{name} {one}"))]

    for name in names(main, "verve")[1:]:
        assert f"\n## `{name}`\n" in text
    assert all(f"\n| {status} | " in text for status in ("0", "1", "2"))
    assert all(len(line) <= 100 for line in text.splitlines() if not line.startswith("|"))


@pytest.mark.parametrize(
    ("command", "shown", "not_shown"),
    [
        (["windows"], "--state-dir", "--max-head"),
        (["segment", "show"], "--segment", "--port"),
        (["callback", "test"], "--callback-proxy-file", "--kafka-brokers"),
        (["callback", "failed"], "--state-dir", "--callback-rate"),
        (["check"], "--port", "--callback-rate"),
    ],
)
def test_help_shows_the_settings_of_the_command(
    command: list[str], shown: str, not_shown: str
) -> None:
    text = _run(*command, "--help")
    assert shown in text
    assert not_shown not in text


def test_a_setting_that_is_not_shown_is_taken() -> None:
    assert "limit" in _run("windows", "--port", "9000", "--help")
    for row in config.TABLE.values():
        assert row.flag in _run("config", "--help")


@pytest.mark.parametrize(
    ("shell", "words", "expected", "not_expected"),
    [
        ("bash", {"COMP_WORDS": "verve win", "COMP_CWORD": "1"}, "windows", "check"),
        ("bash", {"COMP_WORDS": "verve windows --", "COMP_CWORD": "2"}, "--follow", "--max-head"),
        ("zsh", {"COMP_WORDS": "verve segment ", "COMP_CWORD": "2"}, "show", "check"),
        ("fish", {"COMP_WORDS": "verve ", "COMP_CWORD": "che"}, "check", "windows"),
    ],
)
def test_completion(shell: str, words: dict[str, str], expected: str, not_expected: str) -> None:
    script = _run("completion", shell)
    variable = "_VERVE_COMPLETE"
    assert f"{variable}={shell}_complete" in script
    done = subprocess.run(
        # As the script does; the command `verve` of the wheel is `entry.main`.
        [sys.executable, "-c", "from verve.commands.entry import main; main()"],
        env={**os.environ, **words, variable: f"{shell}_complete"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert expected in done.stdout
    assert not_expected not in done.stdout


def test_bash_takes_the_script() -> None:
    checked = subprocess.run(
        ["bash", "-n"], input=_run("completion", "bash"), text=True, check=False
    )
    assert checked.returncode == 0


def test_serve_names_its_version_and_granians() -> None:
    verve, granian = _run("serve", "--version").splitlines()
    assert verve.startswith("verve ")
    assert granian.startswith("granian 2.")
