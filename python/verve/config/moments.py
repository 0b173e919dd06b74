"""Points in time on the command line, and spans between two of them."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import click

from . import parsers

_AGO = parsers.duration(0, 100 * 365 * 86_400)


class Moment(click.ParamType[int]):
    """RFC 3339, seconds since the epoch, or how long ago (`90m`, `2h`, `7d`): epoch seconds."""

    name = "time"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Parse one value; a time without an offset is in UTC."""
        if isinstance(value, int):
            return value
        if value.isdecimal():
            return int(value)
        try:
            return int(time.time()) - _AGO(value)
        except parsers.BadValue:
            pass
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(
                f"no time: `{value}`; use `2026-11-22T21:58:00Z`, seconds since the epoch, or `2h`",
                param,
                ctx,
            )
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


class Span(click.ParamType[tuple[int, int]]):
    """`SINCE..UNTIL`: what starts between two moments. One that is left out is no bound."""

    name = "span"

    def convert(
        self,
        value: str | tuple[int, int],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[int, int]:
        """Parse both."""
        if isinstance(value, tuple):
            return value
        since, dots, until = value.partition("..")
        if not dots or not (since or until):
            self.fail(f"no span: `{value}`; use `2h..1h`, or `2026-11-22T21:00:00Z..`", param, ctx)
        moment = Moment()
        return (
            moment.convert(since, param, ctx) if since else -(2**63),
            moment.convert(until, param, ctx) if until else 2**63 - 1,
        )
