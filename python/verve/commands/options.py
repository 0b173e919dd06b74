"""The settings as options of a command, and exit statuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from verve import config
from verve.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from verve.config import Settings

REDIS_SETTINGS = ("redis_url", "redis_tls_ca", "redis_tls_certificate", "redis_tls_key")


class SettingOption(click.Option):
    """The option of one setting."""


def with_settings(
    shown: Collection[str] | None = None, *, without: Collection[str] = ()
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add one flag per setting, except for those in `without`; the command takes `**options`.

    `--help` and completion show the settings in `shown`: those that the command uses, or all of
    them if it is None. The others are accepted, so that the flags of a service fit every command.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for row in reversed([row for row in config.TABLE.values() if row.name not in without]):
            name = f"{row.name}_file" if row.secret else row.name
            default = row.default_text
            help_text = row.help + (f" Default: {default}." if default else "")
            command = click.option(
                row.flag,
                f"setting_{name}",
                cls=SettingOption,
                metavar="FILE" if row.secret else "VALUE",
                help=help_text.replace("`", ""),
                hidden=shown is not None and row.name not in shown,
            )(command)
        return command

    return decorate


def with_limit(things: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the option `--limit`, the maximum number of `things` that the command prints."""
    return click.option(
        "--limit",
        default=20,
        show_default=True,
        type=click.IntRange(1),
        help=f"Maximum number of {things}.",
    )


def settings_from(options: dict[str, Any]) -> Settings:
    """The settings that a command's options select; prints warnings about the environment."""
    flags = {
        name.removeprefix("setting_"): value
        for name, value in options.items()
        if name.startswith("setting_") and value is not None
    }
    settings = config.load(flags)
    for warning in settings.warnings:
        click.echo(f"warning: {printable(warning)}", err=True)
    return settings
