"""A point in time on the command line."""

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
