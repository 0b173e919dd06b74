"""The command `verve distinct`."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

import click

from verve._verve import SettingError
from verve.archive.query.span import By, Span, SpanError
from verve.config import moments
from verve.config.moments import EARLIEST, LATEST
from verve.timestamps import rfc3339

from .options import settings_from, with_settings
from .progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from verve.archive.query.answer import Answer
    from verve.archive.query.plan import Plan
    from verve.config import Settings

_AGE = re.compile(r"\s*[0-9.]+\s*[a-z]+\s*")


@click.command(
    help="Count the distinct ids of a span, exactly, from the archive. Exit status 3: windows are "
    "missing."
)
@with_settings(("config", "archive", "archive_memory", "cluster"))
@click.argument("span", metavar="SINCE..UNTIL")
@click.option(
    "--by",
    type=click.Choice([str(one) for one in By]),
    help="Count each part of the span; a minute stands for a window.",
)
@click.option("--json", "form", flag_value="json", help="Print one JSON object.")
@click.option("--csv", "form", flag_value="csv", help="Print CSV, with the names in the first row.")
@click.option("--explain", is_flag=True, help="Print the files that answer, and count nothing.")
def distinct(
    *,
    span: str,
    by: str | None,
    form: str | None,
    explain: bool,
    **options: Any,  # noqa: ANN401 - see with_settings
) -> None:
    """Count the distinct ids of a span, exactly, from the archive."""
    settings = settings_from(options)
    wanted = _whole(span, settings.window)
    part = None if by is None else By(by)
    if explain:
        for line in _explained(_plan(settings, wanted, part)):
            click.echo(line)
        return
    answer = _count(settings, wanted, part)
    if form == "json":
        click.echo(json.dumps(answer.plain()))
    elif form == "csv":
        click.echo("span_start,span_end,distinct,complete")
        for one in answer.buckets:
            start, end = rfc3339(one.since), rfc3339(one.until)
            click.echo(f"{start},{end},{one.distinct},{str(one.complete).lower()}")
    else:
        for line in _lines(answer):
            click.echo(line)
        for line in _warnings(answer):
            click.echo(line, err=True)
    raise SystemExit(0 if answer.complete else 3)


def archive_of(settings: Settings) -> str:
    """The archive of the settings. Raises `SettingError` if there is none."""
    if settings.archive is None:
        raise SettingError("there is no archive; hint: name it with `--archive` or `VERVE_ARCHIVE`")
    return str(settings.archive)


def _whole(text: str, window: int) -> Span:
    """The span of an argument. An age, or no end, means the start of the window it falls into."""
    since, until = moments.span(text)
    if since == EARLIEST:
        raise click.BadParameter("a span needs its start; use `2h..`")
    if until == LATEST:
        until = int(time.time())
    first, _, last = text.partition("..")
    since -= since % window if _AGE.fullmatch(first) else 0
    until -= until % window if not last or _AGE.fullmatch(last) else 0
    found = Span(since, until)
    if not 0 <= since < until:
        raise SpanError("a span ends before it begins", Span(max(since, 0), max(until, 0)))
    return found


def _plan(settings: Settings, wanted: Span, by: By | None) -> Plan:
    from verve.archive.query.library import ended  # noqa: PLC0415 - needs the extra
    from verve.archive.query.plan import Planner  # noqa: PLC0415 - the same
    from verve.archive.store import open_store  # noqa: PLC0415 - the same

    store = open_store(archive_of(settings))
    return Planner(store, settings.cluster).plan(ended(wanted), by)


def _count(settings: Settings, wanted: Span, by: By | None) -> Answer:
    from verve.archive.query.library import distinct as count  # noqa: PLC0415 - needs the extra

    with Progress() as line:
        return count(
            archive_of(settings),
            wanted.since,
            wanted.until,
            by=by,
            cluster=settings.cluster,
            memory=settings.archive_memory,
            progress=lambda done, total: line.tell(done, done, total),
        )


def _lines(answer: Answer) -> Iterator[str]:
    for one in answer.buckets:
        mark = "" if one.complete else "  incomplete"
        yield f"{Span(one.since, one.until)}  {one.distinct}{mark}"


def _warnings(answer: Answer) -> Iterator[str]:
    for one in answer.missing:
        host = "all hosts" if one.host is None else f"host `{one.host}`"
        windows = "1 window" if one.windows == 1 else f"{one.windows} windows"
        yield f"missing: {windows} of {host} in {Span(one.since, one.until)}: {one.reason}"
    if not answer.hosts_known:
        yield "note: without a cluster nobody knows whether other hosts counted ids, too"


def _explained(plan: Plan) -> Iterator[str]:
    for one in plan.buckets:
        rows = sum(piece.file.contents.rows for piece in one.pieces)
        known = "" if one.known is None else f", of which a footer counts {one.known}"
        yield f"{one.span}  {len(one.pieces)} files, {rows} rows{known}"
        for piece in one.pieces:
            part = "" if piece.mask is None else f", only the parts {piece.mask:#x}"
            yield f"  {piece.file.name}  {piece.file.contents.rows} rows{part}"
        for lack in one.missing:
            host = lack.host or "all hosts"
            yield f"  missing: {lack.windows} windows of {host}: {lack.reason}"
