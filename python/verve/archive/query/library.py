"""`verve.distinct`: a query on any archive, without a service."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from verve.archive.store import open_store

from .span import By, Span, SpanError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from .answer import Answer

MEMORY = 512 * 2**20


def distinct(  # noqa: PLR0913 - a query and its limits
    archive: str | os.PathLike[str],
    since: datetime | int,
    until: datetime | int,
    *,
    by: str | None = None,
    cluster: str = "",
    memory: int = MEMORY,
    progress: Callable[[int, int], object] | None = None,
) -> Answer:
    """Count the distinct ids of the span from `since` up to `until`, exactly.

    `archive` is a folder or the URL of a bucket. Times are datetimes, without a zone in UTC, or
    seconds since the epoch. `by` divides the span: `minute` (each window), `hour` or `day`. At most
    about `memory` bytes hold ids at once. `progress` gets the rows that were read, and all rows.

    Raises `SettingError` for an archive that cannot be opened, and `ArchiveError`: for a span that
    cannot be answered (`SpanError`), and for a file that is not sound, never a wrong count.
    """
    from .counting import Limits  # noqa: PLC0415 - needs the extra
    from .distinct import distinct as answer  # noqa: PLC0415 - needs the extra

    store = open_store(archive)
    rows = _Rows(progress)
    return answer(
        store,
        cluster,
        ended(Span(_seconds(since), _seconds(until))),
        by=None if by is None else By(by),
        limits=Limits(memory=memory, progress=rows.add),
        planned=lambda plan: rows.begin(plan.rows),
    )


def ended(span: Span, now: float | None = None) -> Span:
    """The span itself. Raises `SpanError` if it has not ended: an open window is in no span."""
    now = time.time() if now is None else now
    if span.until > now:
        last = int(now) // 60 * 60
        nearest = (Span(span.since, last),) if span.since < last else ()
        raise SpanError("a span has not ended", span, nearest)
    return span


class _Rows:
    """Adds up the rows that were read."""

    def __init__(self, progress: Callable[[int, int], object] | None) -> None:
        self._progress = progress
        self._done = self._total = 0

    def begin(self, total: int) -> None:
        """A plan has so many rows."""
        self._done, self._total = 0, total

    def add(self, rows: int) -> None:
        """So many more were read."""
        self._done += rows
        if self._progress is not None:
            self._progress(self._done, self._total)


def _seconds(moment: datetime | int) -> int:
    if isinstance(moment, int):
        return moment
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    found = aware.timestamp()
    if found != int(found):
        raise ValueError(f"a span begins and ends with whole seconds: `{moment}`")
    return int(found)
