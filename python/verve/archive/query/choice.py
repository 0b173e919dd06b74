"""Which files answer a bucket: roll-ups for what they cover whole, and windows for the rest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from verve.archive.format.levels import HOUR, Level, hour_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .catalogue import Catalogue, Record, RollUp
    from .coverage import Coverage
    from .span import Span


@dataclass(slots=True)
class Choice:
    """The files of a bucket. Roll-ups have a mask of the parts that count, None for all."""

    windows: dict[str, Record] = field(default_factory=dict)
    roll_ups: list[tuple[RollUp, int | None]] = field(default_factory=list)
    gone: list[Record] = field(default_factory=list)
    """Records whose file is nowhere."""
    coarser: int = 0
    """The length of the spans that the only file left can answer; 0: all is answered."""


def choose(catalogue: Catalogue, coverage: Coverage, span: Span) -> Choice:
    """The files that hold all ids of `span`."""
    found = Choice()
    for host in coverage.hosts:
        needed = {
            one.file: one
            for records in coverage.records(host, span)
            for one in records
            if one.file is not None
        }
        _choose_of_host(found, catalogue, needed, catalogue.roll_ups_of(host, span), span)
    return found


def _choose_of_host(
    found: Choice,
    catalogue: Catalogue,
    needed: dict[str, Record],
    roll_ups: list[RollUp],
    span: Span,
) -> None:
    days = [one for one in roll_ups if one.file.head.file.level is Level.DAY]
    if span.since in catalogue.counted_hours:
        _choose_counted(found, days, needed, span)
    hours = [one for one in roll_ups if one.file.head.file.level is Level.HOUR]
    for one in [*days, *hours]:
        if span.covers(one.start, one.end) and not one.covers.isdisjoint(needed):
            found.roll_ups.append((one, None))
            _remove(needed, one.covers)
    for name in [name for name in needed if name in catalogue.windows]:
        found.windows[name] = needed.pop(name)
    for one in hours:
        _choose_part(found, one, needed, _windows_of_hour(one, needed))
    for one in days:
        _choose_part(found, one, needed, _hours_of_day(one, needed, span))
    for name, record in needed.items():
        if any(name in one.covers for one in days):
            found.coarser = HOUR
        else:
            found.gone.append(record)


def _choose_counted(
    found: Choice, days: list[RollUp], needed: dict[str, Record], span: Span
) -> None:
    """Take the day file that counts an hour, whose own file was not opened."""
    for one in days:
        if span.since in one.hours and needed.keys() <= one.covers:
            _choose_part(found, one, needed, _hours_of_day(one, needed, span))


def _windows_of_hour(hour: RollUp, needed: dict[str, Record]) -> dict[str, int]:
    """The bits of the windows that are needed and that an hour file has."""
    return {
        name: 1 << (record.entry.start - hour.start) // record.entry.length
        for name, record in needed.items()
        if name in hour.covers
    }


def _hours_of_day(day: RollUp, needed: dict[str, Record], span: Span) -> dict[str, int]:
    """The bits of the hours inside `span` that are needed and that a day file has."""
    found = {}
    for name, record in needed.items():
        hour = hour_of(record.entry.start)
        if name in day.covers and span.covers(hour, hour + HOUR):
            found[name] = 1 << (hour - day.start) // HOUR
    return found


def _choose_part(
    found: Choice, roll_up: RollUp, needed: dict[str, Record], bits: dict[str, int]
) -> None:
    if bits:
        mask = 0
        for bit in bits.values():
            mask |= bit
        found.roll_ups.append((roll_up, mask))
        _remove(needed, bits)


def _remove(needed: dict[str, Record], names: Iterable[str]) -> None:
    for name in names:
        needed.pop(name, None)
