"""The output of `verve windows`, and `verve windows --redeliver`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verve._verve import VerveError
from verve.ledger import ledger
from verve.printable import printable
from verve.sinks import KAFKA
from verve.timestamps import rfc3339
from verve.windows.window import Window

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from verve.config import Settings
    from verve.windows.window import Key

# A window that one host counted has no `host_unique`; CSV has the same columns for each.
_FIELDS = tuple(
    Window(window_start=0, window_seconds=60, unique=0, host_unique=0).as_json(),
)
_COLUMNS = ("unique", "requests", "duplicates", "late", "rejected")


def lines(found: Sequence[Window], undelivered: Mapping[Key, Sequence[str]]) -> Iterator[str]:
    """A table of windows; `undelivered` names the sinks that have not taken a window."""
    yield head()
    for window in found:
        sinks = undelivered.get(window.key)
        yield line(window) + (f" not in {printable(', '.join(sinks))}" if sinks else "")


def head() -> str:
    """The first line of the table: the names of the columns."""
    return f"{'window':<20} {'length':>6} " + " ".join(f"{column:>12}" for column in _COLUMNS)


def line(window: Window) -> str:
    """One window of the table."""
    figures = " ".join(f"{getattr(window, column):>12,}" for column in _COLUMNS)
    marks = [name for name in ("gap", "degraded") if getattr(window, name)]
    if window.revision > 1:
        marks.append(f"revision {window.revision}")
    start = rfc3339(window.window_start)
    return " ".join([f"{start:<20} {window.window_seconds:>5}s {figures}", *marks])


def csv_lines(
    found: Sequence[Window], undelivered: Mapping[Key, Sequence[str]] | None
) -> Iterator[str]:
    """CSV of windows; with `undelivered`, a column names the sinks that have not taken each."""
    if undelivered is None:
        yield csv_head()
        yield from map(csv_line, found)
        return
    yield f"{csv_head()},undelivered"
    for window in found:
        yield f"{csv_line(window)},{' '.join(undelivered[window.key])}"


def csv_head() -> str:
    """The first row: the names of the fields, as in JSON."""
    return ",".join(_FIELDS)


def csv_line(window: Window) -> str:
    """One window. Every value is a number, a time, `true` or `false`: no cell needs quotes."""
    fields = window.as_json()
    return ",".join(_cell(fields.get(name)) for name in _FIELDS)


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def redeliver(settings: Settings, since: int, until: int) -> int:
    """Mark the windows that start in a span as not delivered to Kafka; the service sends them.

    `since` and `until` are epoch seconds. Returns the number of windows. Raises `VerveError`.
    """
    if KAFKA not in settings.sinks:
        raise VerveError(
            "counts are not published to Kafka: `sinks`; hint: set `VERVE_KAFKA_BROKERS` as for "
            "the service"
        )
    path = ledger.path_of(settings)
    if not path.exists():
        raise VerveError(f"there is no ledger: `{path}`; hint: `--state-dir` names its directory")
    opened = ledger.open_ledger(settings)
    try:
        return opened.reopen(KAFKA, since, until)
    finally:
        opened.close()
