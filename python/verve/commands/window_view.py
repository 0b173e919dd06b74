"""The output of `verve windows`, and `verve windows --redeliver`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verve._verve import VerveError
from verve.ledger import ledger
from verve.printable import printable
from verve.sinks import KAFKA
from verve.timestamps import rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from verve.config import Settings
    from verve.windows.window import Key, Window

_COLUMNS = ("unique", "requests", "duplicates", "late", "rejected")


def lines(found: Sequence[Window], undelivered: Mapping[Key, Sequence[str]]) -> Iterator[str]:
    """A table of windows; `undelivered` names the sinks that have not taken a window."""
    yield f"{'window':<20} {'length':>6} " + " ".join(f"{column:>12}" for column in _COLUMNS)
    for window in found:
        sinks = undelivered.get(window.key)
        yield _line(window) + (f" not in {printable(', '.join(sinks))}" if sinks else "")


def _line(window: Window) -> str:
    figures = " ".join(f"{getattr(window, column):>12,}" for column in _COLUMNS)
    marks = [name for name in ("gap", "degraded") if getattr(window, name)]
    if window.revision > 1:
        marks.append(f"revision {window.revision}")
    start = rfc3339(window.window_start)
    return " ".join([f"{start:<20} {window.window_seconds:>5}s {figures}", *marks])


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
