"""Spans, the buckets that they are divided into, and what is wrong with a span."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from verve.archive.errors import ArchiveError
from verve.archive.format.levels import DAY, HOUR
from verve.timestamps import rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_BUCKETS = 10_000
_YEAR_10000 = 253_402_300_800


class By(StrEnum):
    """What a span is divided into. A minute stands for a window, whatever its length."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """From `since` up to `until`, which is not part of it; in seconds since the epoch."""

    since: int
    until: int

    def __str__(self) -> str:
        """Such as `2026-11-30T12:00:00Z..2026-11-30T13:00:00Z`."""
        return f"{_text(self.since)}..{_text(self.until)}"

    def covers(self, start: int, end: int) -> bool:
        """Whether `start` to `end` lies inside."""
        return self.since <= start and end <= self.until

    def nearest(self, step: int) -> tuple[Span, ...]:
        """The next smaller and the next larger span whose ends are multiples of `step`."""
        inside = Span(-(-self.since // step) * step, self.until // step * step)
        around = Span(self.since // step * step, -(-self.until // step) * step)
        return tuple(one for one in (inside, around) if one.since < one.until)


class SpanError(ArchiveError, ValueError):
    """A span cannot be answered; `nearest` are those next to it that can."""

    def __init__(self, problem: str, span: Span, nearest: tuple[Span, ...] = ()) -> None:
        wanted = " or ".join(f"`{one}`" for one in nearest) or "another span"
        super().__init__(f"{problem}: `{span}`; hint: ask for {wanted}")
        self.problem = problem
        self.span = span
        self.nearest = nearest

    def __reduce__(self) -> tuple[type[SpanError], tuple[str, Span, tuple[Span, ...]]]:
        """Pickle the arguments in place of the message, so that another process can read it."""
        return type(self), (self.problem, self.span, self.nearest)


class DeadlineError(ArchiveError):
    """The count took longer than it may."""


def _text(moment: int) -> str:
    """The time, or its seconds if no calendar has it."""
    return rfc3339(moment) if 0 <= moment < _YEAR_10000 else str(moment)


def too_many(span: Span, by: By) -> SpanError:
    """The error for a span that has too many parts."""
    return SpanError(f"a span has more than {MOST_BUCKETS} parts by {by}", span)


def blocks(windows: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The start and the end of each of these windows (start, length); of some that overlap, once.

    Windows overlap when their length was changed within one.
    """
    found: list[tuple[int, int]] = []
    for start, length in sorted(windows):
        if found and start < found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], start + length)
        else:
            found.append((start, start + length))
    return found


def buckets(span: Span, by: By | None, known: list[tuple[int, int]], length: int) -> list[Span]:
    """Divide a span. `known` are the `blocks` of recorded windows; others last `length`."""
    if by is None:
        return [span]
    found = []
    start, position = span.since, 0
    while start < span.until:
        if by is By.MINUTE:
            while position < len(known) and known[position][1] <= start:
                position += 1
            end = start + length
            if position < len(known):
                first, last = known[position]
                end = last if first <= start else min(end, first)
        else:
            step = HOUR if by is By.HOUR else DAY
            end = start - start % step + step
        found.append(Span(start, min(end, span.until)))
        start = end
        if len(found) > MOST_BUCKETS:
            raise too_many(span, by)
    return found
