"""Points in time on the command line, and spans between two of them.

The parsers are plain functions, which every version of click takes as the type of an option.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

import click

from verve.printable import shortened

from . import parsers

_AGO = parsers.duration(0, 100 * 365 * 86_400)
EARLIEST, LATEST = -(2**63), 2**63 - 1
"""The bounds of an epoch second, as the ledger stores it."""


def moment(value: str) -> int:
    """The epoch seconds of a time: RFC 3339, epoch seconds, or an age (`90m`, `2h`, `7d`).

    A time without an offset is in UTC. Raises `click.BadParameter` for any other text.
    """
    try:
        # `isdecimal` is true for the digits of every script, and `int` parses all of them.
        seconds = int(value) if value.isdecimal() else _parsed(value)
    except ValueError:
        seconds = LATEST + 1
    if not EARLIEST <= seconds <= LATEST:
        raise click.BadParameter(
            f"no time: `{shortened(value)}`; "
            "use `2026-11-22T21:58:00Z`, seconds since the epoch, or `2h`"
        )
    return seconds


def span(value: str) -> tuple[int, int]:
    """The bounds of `SINCE..UNTIL` in epoch seconds; an omitted bound is `EARLIEST` or `LATEST`.

    Raises `click.BadParameter` for any other text.
    """
    since, dots, until = value.partition("..")
    if not dots or not (since or until):
        raise click.BadParameter(
            f"no span: `{shortened(value)}`; use `2h..1h`, or `2026-11-22T21:00:00Z..`"
        )
    return moment(since) if since else EARLIEST, moment(until) if until else LATEST


def _parsed(value: str) -> int:
    try:
        return int(time.time()) - _AGO(value)
    except parsers.BadValue:
        pass
    at = datetime.fromisoformat(value)
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())
