"""The reference of the command line in `docs/reference/cli.md`, made of the commands themselves."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import click

from .cli import main
from .options import SettingOption

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD = ("| status | meaning |", "|---|---|")
_STATUSES = {
    "0": "The command has done what it says; of a check: all is well. Also if the reader of the "
    "output ends early, as `head` does, and if Ctrl-C ends `verve windows --follow`.",
    "1": "An error, which standard error explains; of `verve check` and `verve callback test`: "
    "something fails, and the output says what. Also if Ctrl-C ends another command than "
    "`verve serve`.",
    "2": "The arguments are wrong: an option that the command does not have, or two options that "
    "exclude each other.",
    "128 + n": "Shown by a shell if signal `n` ended the command: 137 after `kill -9`; after "
    "`kill` 143, except for `verve serve`.",
}
_SERVE = (
    "`verve serve` ends with 0 after SIGTERM or Ctrl-C, and with 1 if it or its workers cannot "
    "start."
)


def markdown() -> str:
    """The statuses and the commands, in Markdown."""
    statuses = [f"| {status} | {meaning} |" for status, meaning in _STATUSES.items()]
    return "\n".join([*_HEAD, *statuses, "", *_wrapped(_SERVE), *_commands(main, "verve")]) + "\n"


def _commands(command: click.Command, name: str) -> Iterator[str]:
    """The sections of a command and of those below it."""
    context = click.Context(command, info_name=name)
    if isinstance(command, click.Group):
        below = [(one, command.get_command(context, one)) for one in command.list_commands(context)]
        if name != "verve":
            yield from ["", f"## `{name}`", "", *_wrapped(command.help)]
        for one, found in below:
            if found is not None and not found.hidden:
                yield from _commands(found, f"{name} {one}")
        return
    arguments = [one for one in command.params if isinstance(one, click.Argument)]
    pieces = " ".join(["[OPTIONS]", *(one.make_metavar(context) for one in arguments)])
    yield from ["", f"## `{name}`", "", *_wrapped(command.help), "", f"Usage: `{name} {pieces}`"]
    options = [one for one in command.params if isinstance(one, click.Option) and not one.hidden]
    own = [one for one in options if not isinstance(one, SettingOption)]
    if own:
        yield from ["", "| option | meaning |", "|---|---|"]
        yield from (f"| {_flag(one, context)} | {_meaning(one, context)} |" for one in own)
    if settings := [one for one in options if isinstance(one, SettingOption)]:
        every = sum(isinstance(one, SettingOption) for one in command.params)
        names = ", ".join(f"`{one.opts[0]}`" for one in settings)
        text = "Settings: all." if len(settings) == every else f"Settings: {names}."
        yield from ["", *_wrapped(text)]
    if command.epilog:
        yield from ["", *_wrapped(command.epilog)]


def _wrapped(text: str | None) -> list[str]:
    return textwrap.wrap(text or "", 100, break_long_words=False, break_on_hyphens=False)


def _flag(option: click.Option, context: click.Context) -> str:
    record = option.get_help_record(context)
    return f"`{record[0]}`" if record else ""


def _meaning(option: click.Option, context: click.Context) -> str:
    record: Any = option.get_help_record(context)
    return " ".join(str(record[1]).split()).replace("|", r"\|") if record else ""
