"""The command `verve windows`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from verve.config.moments import moment, span
from verve.ledger import ledger

from . import window_follow, window_view
from .options import settings_from, with_limit, with_settings

if TYPE_CHECKING:
    from pathlib import Path

    from verve.windows.window import Key, Window


@click.command(help="Print the closed windows from the ledger, newest first.")
@with_settings(("config", "state_dir", "sinks", "kafka_brokers"))
@with_limit("windows; with --follow, of those that are closed already")
@click.option(
    "--since",
    type=moment,
    metavar="TIME",
    help="Print windows from this start on: RFC 3339, epoch seconds, or an age such as 2h.",
)
@click.option("--until", type=moment, metavar="TIME", help="Print windows that start before this.")
@click.option("--json", "form", flag_value="json", help="Print one JSON object per line.")
@click.option("--csv", "form", flag_value="csv", help="Print CSV, with the names in the first row.")
@click.option(
    "--follow",
    is_flag=True,
    help="Print oldest first, and then each window as it is closed, and each revision of one. "
    "Ends at Ctrl-C.",
)
@click.option("--undelivered", is_flag=True, help="Print only windows that a sink has not taken.")
@click.option(
    "--redeliver",
    type=span,
    metavar="SINCE..UNTIL",
    help="Send the windows that start in this span to Kafka again, and print none.",
)
def windows(  # noqa: PLR0913 - one per option
    *,
    limit: int,
    since: int | None,
    until: int | None,
    form: str | None,
    follow: bool,
    undelivered: bool,
    redeliver: tuple[int, int] | None,
    **options: Any,  # noqa: ANN401 - see with_settings
) -> None:
    """Print the closed windows from the ledger, newest first."""
    if follow and (undelivered or redeliver is not None or until is not None):
        raise click.UsageError("--follow excludes --undelivered, --redeliver and --until")
    settings = settings_from(options)
    path = ledger.path_of(settings)
    if redeliver is not None:
        count = window_view.redeliver(settings, *redeliver)
        click.echo(f"{count} windows will be sent to Kafka again", err=True)
        return
    if follow:
        window_follow.follow(path, form, limit=limit, since=since)
        return
    if undelivered:
        waiting = ledger.undelivered(path, limit=limit, since=since, until=until)
        _show([one for one, _ in waiting], {one.key: names for one, names in waiting}, form, path)
    else:
        _show(ledger.rows(path, limit=limit, since=since, until=until), None, form, path)


def _show(
    found: list[Window],
    undelivered: dict[Key, tuple[str, ...]] | None,
    form: str | None,
    path: Path,
) -> None:
    """Print windows; `undelivered` names the sinks that have not taken each."""
    if form == "json":
        for window in found:
            more = {} if undelivered is None else {"undelivered": undelivered[window.key]}
            click.echo(json.dumps(window.as_json() | more))
    elif form == "csv":
        for line in window_view.csv_lines(found, undelivered):
            click.echo(line)
    elif not found:
        kind = "" if undelivered is None else "undelivered "
        click.echo(f"no {kind}windows in `{path}`", err=True)
    else:
        for line in window_view.lines(found, undelivered or {}):
            click.echo(line)
