"""Migration of a segment of other settings: nothing that it counted is lost.

Once no process uses it, all of its windows go to the ledger by their own length, and its file is
removed; ids that their cluster may not have yet go to spills. If only the name of the cluster
changed, the open window goes on in the new segment: the ids that were answered `ok` in it count
there too.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from verve._verve import Counter, SegmentError, VerveError, segment_identity
from verve.cluster.spill.arena_ids import ArenaIds
from verve.cluster.spill.spills import Spills, set_aside_all
from verve.ledger import ledger
from verve.ledger.ledger import Receipt
from verve.log import event_log, events
from verve.log.background import Notices
from verve.publishing.lease import Cursor
from verve.publishing.window_source import provisional_count
from verve.sinks import LOG, Scope, of_scope
from verve.windows import ring
from verve.windows.window import Window

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Iterable

    from verve._verve import WindowRecord
    from verve.config import Settings
    from verve.windows.window import Key

# Ids of a window that is about to end would fall into the next one.
_MARGIN_SECONDS = 0.2
_IDS_PER_SECOND = 2_000_000
_FLUSH_SECONDS = 1.0
"""Time that log lines get to be written."""


@dataclass(frozen=True, slots=True)
class OpenWindow:
    """The window that was open in a retired segment, and may go on in the next one."""

    window: Window
    ids: array[int]


def retire(settings: Settings, *, keeps_for_archive: bool = False) -> OpenWindow | None:
    """Seal all windows of the segment, store them, and remove its file.

    `keeps_for_archive`: the segment is that of a host alone, which keeps ids for its archive. Gives
    the open window if it may go on. Raises `SegmentError`, also when ids cannot be kept for their
    cluster, and `LedgerError`; the file stays as it is then.
    """
    found = segment_identity(settings.segment)
    with Counter(
        settings.segment,
        window=None,
        cluster=found["cluster"],
        state_directory=found["state_directory"],
    ) as old:
        is_of_cluster = old.retention.settled() != 0 and not keeps_for_archive
        open_window = _seal(old, settings, is_of_cluster=is_of_cluster)
        records = old.closed()
        sealed = ring.sound(records)
        windows = [provisional_count(old, one) if is_of_cluster else one for one in sealed]
        if open_window is not None:
            # The count of the next segment replaces it, and no sink gets it before.
            open_key = open_window.window.key
            windows = [_provisional(w) if w.key == open_key else w for w in windows]
        logged, now = old.ring.cursor(Cursor.LOG), time.time()
        taken = {
            (LOG, window.key): Receipt(now, window.revision)
            for window in windows
            if window.window_start <= logged
        }
        sinks = _sinks_of(settings, is_of_cluster=is_of_cluster, withheld=open_window)
        if is_of_cluster:
            _spill(old, records, settings)
        if settings.archive is not None:
            _spool(old, sealed, settings, found["cluster"])
        _store(settings, windows, sinks, taken)
        if found["cluster"] != settings.cluster:
            set_aside_all(settings)
        settings.segment.unlink()
    events.SEGMENT_RETIRED.emit(
        path=settings.segment,
        window_seconds=found["window"],
        cluster=found["cluster"],
        number=len(windows),
    )
    return open_window


def continue_window(counter: Counter, settings: Settings, open_window: OpenWindow) -> None:
    """Count the ids of the open window in the new segment; if it has ended, its count is final."""
    window = open_window.window
    if _count_again(counter, open_window):
        return
    is_current = counter.current().window_start == window.window_start
    if is_current or settings.redis_url is not None:
        window = _provisional(window)
    _store(settings, [window], _sinks_of(settings, is_of_cluster=False), {})


def _seal(old: Counter, settings: Settings, *, is_of_cluster: bool) -> OpenWindow | None:
    """Seal the open window if it has ids, and give it if it may go on."""
    # The record of an empty one would conflict with the next, should the settings change back.
    if not old.count():
        return None
    start = old.hold()
    try:
        ids = old.ids(start)
        record = old.seal()
    finally:
        old.release(start)
    if record.window_start != start or old.window != settings.window:
        return None
    window = Window.from_record(record)
    return OpenWindow(provisional_count(old, window) if is_of_cluster else window, ids)


def _spill(old: Counter, records: Iterable[WindowRecord], settings: Settings) -> None:
    """Write the ids of all windows that are not released to spills. Raises `SegmentError`."""
    spills = Spills(replace(settings, window=old.window), old.stats()["identity"], Notices())
    counts = {record.window_start: record.unique for record in records}
    kept = [(start, counts[start]) for start in old.retention.kept() if counts.get(start)]
    written = [spills.write(start, ArenaIds(old, start, count)) for start, count in kept]
    event_log.flush(_FLUSH_SECONDS)
    if None in written:
        raise SegmentError(
            f"ids that Redis may not have cannot be kept: `{spills.directory}`; hint: make room "
            "there, raise `VERVE_SPILL_MAX`, or use the earlier settings until the ids are sent"
        )


def _spool(old: Counter, sealed: Iterable[Window], settings: Settings, cluster: str) -> None:
    """Write the windows that the archive does not have to the spool.

    One that goes on in the new segment is archived by both, which does not change the union.
    """
    # Imported here, since most hosts have no archive.
    from verve.archive.leader.archivist import spool_retired  # noqa: PLC0415

    settled = old.retention.settled()
    kept = set(old.retention.kept())
    lacking = [
        window
        for window in sealed
        if window.window_start in kept or (settled and window.window_start > settled)
    ]
    spool_retired(old, lacking, settings, cluster)
    event_log.flush(_FLUSH_SECONDS)


def _count_again(counter: Counter, open_window: OpenWindow) -> bool:
    """Insert the ids of the window into the new segment; whether all of them count there."""
    ids = open_window.ids
    if counter.current().window_start != open_window.window.window_start:
        return False
    if counter.until_boundary() < _MARGIN_SECONDS + len(ids) / _IDS_PER_SECOND:
        return False
    try:
        counter.add_many(ids)
    except VerveError:
        # The new segment holds fewer ids per window, or its file system is fuller.
        return False
    return True


def _provisional(window: Window) -> Window:
    return replace(window, degraded=True, revision=0)


def _sinks_of(
    settings: Settings, *, is_of_cluster: bool, withheld: OpenWindow | None = None
) -> Callable[[Window], Iterable[str]]:
    """The count of one host is not published under the name of a cluster."""
    alone = settings.redis_url is None and not is_of_cluster

    def sinks(window: Window) -> tuple[str, ...]:
        if withheld is not None and window.key == withheld.window.key:
            return ()
        if alone and window.revision > 0:
            return settings.sinks
        return of_scope(settings, Scope.HOST)

    return sinks


def _store(
    settings: Settings,
    windows: list[Window],
    sinks: Callable[[Window], Iterable[str]],
    taken: dict[tuple[str, Key], Receipt],
) -> None:
    opened = _opened_ledger(settings)
    try:
        opened.record(windows, sinks=sinks, taken=taken)
    finally:
        opened.close()


def _opened_ledger(settings: Settings) -> ledger.Ledger:
    """The ledger; a damaged one is renamed and replaced."""
    try:
        return ledger.open_ledger(settings)
    except ledger.LedgerError as error:
        if error.kind is not ledger.LedgerFailure.DAMAGED:
            raise
    events.LEDGER_SET_ASIDE.emit(kept=ledger.set_aside(ledger.path_of(settings)))
    return ledger.open_ledger(settings)
