"""What becomes of a segment of other settings: nothing that it counted is lost.

Once nobody lives in it, all of its windows go to the ledger by their own length and its file is
removed; ids that their cluster may not have yet go to spills. When only the name of the cluster
changed, the minute goes on in the new segment: the ids that were answered `ok` in it count there
too.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from verve._verve import Counter, SegmentError, VerveError, segment_identity
from verve.cluster.spill.arena_ids import ArenaIds
from verve.cluster.spill.spills import Spills, leave_behind
from verve.ledger import ledger
from verve.ledger.ledger import Receipt
from verve.log import events
from verve.log.background import Notices
from verve.publishing.ledger_writer import LOG_CURSOR
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

# Ids of a minute that is about to end would fall into the next one.
_NEAR_ITS_END = 0.2
_IDS_A_SECOND = 2_000_000
_NOTICED = 1.0
"""Seconds that log lines get to be written."""


@dataclass(frozen=True, slots=True)
class Unfinished:
    """The window that was open in a retired segment, if it may go on in the next one."""

    window: Window
    ids: array[int]


def retire(settings: Settings) -> Unfinished | None:
    """Close all windows of the segment, store them, and remove its file.

    Raises `SegmentError`, also when ids cannot be kept for their cluster, and `LedgerError`; the
    file stays as it is then.
    """
    found = segment_identity(settings.segment)
    with Counter(
        settings.segment,
        window=None,
        cluster=found["cluster"],
        state_directory=found["state_directory"],
    ) as old:
        is_of_cluster = old.settled() != 0
        unfinished = _seal(old, settings)
        records = old.closed()
        windows = [_as_stored(old, window) for window in ring.sound(records)]
        if unfinished is not None:
            # To be replaced by what the next segment counts, and not to be told before.
            open_key = unfinished.window.key
            windows = [_provisional(w) if w.key == open_key else w for w in windows]
        logged, now = old.cursor(LOG_CURSOR), time.time()
        taken = {
            (LOG, window.key): Receipt(now, window.revision)
            for window in windows
            if window.window_start <= logged
        }
        sinks = _sinks_of(settings, is_of_cluster=is_of_cluster, untold=unfinished)
        if is_of_cluster:
            _spill(old, records, settings)
        _store(settings, windows, sinks, taken)
        if found["cluster"] != settings.cluster:
            leave_behind(settings)
        settings.segment.unlink()
    events.SEGMENT_RETIRED.emit(
        path=settings.segment,
        window_seconds=found["window"],
        cluster=found["cluster"],
        number=len(windows),
    )
    return unfinished


def go_on(counter: Counter, settings: Settings, unfinished: Unfinished) -> None:
    """Count the ids of the open window in the new segment; if it has ended, it stands as it is."""
    window = unfinished.window
    if _carry(counter, unfinished):
        return
    is_current = counter.current().window_start == window.window_start
    if is_current or settings.redis_url is not None:
        window = _provisional(window)
    _store(settings, [window], _sinks_of(settings, is_of_cluster=False), {})


def _seal(old: Counter, settings: Settings) -> Unfinished | None:
    """Close the window that is open, if it has ids; whether it may go on."""
    # An empty one would stand in the way of its successor, should the settings change back soon.
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
    return Unfinished(_as_stored(old, Window.from_record(record)), ids)


def _spill(old: Counter, records: Iterable[WindowRecord], settings: Settings) -> None:
    """Write the ids of all windows that are not settled to disk. Raises `SegmentError`."""
    notices = Notices()
    spills = Spills(replace(settings, window=old.window), old.stats()["identity"], notices)
    counts = {record.window_start: record.unique for record in records}
    kept = [(start, counts[start]) for start in old.kept() if counts.get(start)]
    written = [spills.write(start, ArenaIds(old, start, count)) for start, count in kept]
    notices.flush(_NOTICED)
    if None in written:
        raise SegmentError(
            f"ids that Redis may not have cannot be kept: `{spills.directory}`; hint: make room "
            "there or raise `VERVE_SPILL_MAX`, or go back to the earlier settings until they are "
            "sent"
        )


def _as_stored(old: Counter, window: Window) -> Window:
    """Of a cluster this host alone cannot tell the count."""
    return provisional_count(old, window) if old.settled() else window


def _carry(counter: Counter, unfinished: Unfinished) -> bool:
    ids = unfinished.ids
    if counter.current().window_start != unfinished.window.window_start:
        return False
    if counter.until_boundary() < _NEAR_ITS_END + len(ids) / _IDS_A_SECOND:
        return False
    try:
        counter.add_many(ids)
    except VerveError:
        # Of fewer ids a window, or on a fuller file system.
        return False
    return True


def _provisional(window: Window) -> Window:
    return replace(window, degraded=True, revision=0)


def _sinks_of(
    settings: Settings, *, is_of_cluster: bool, untold: Unfinished | None = None
) -> Callable[[Window], Iterable[str]]:
    """The count of one host is not published under the name of a cluster."""
    alone = settings.redis_url is None and not is_of_cluster

    def sinks(window: Window) -> tuple[str, ...]:
        if untold is not None and window.key == untold.window.key:
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
    try:
        return ledger.open_ledger(settings)
    except ledger.LedgerError as error:
        if error.kind is not ledger.LedgerFailure.DAMAGED:
            raise
    events.LEDGER_SET_ASIDE.emit(kept=ledger.set_aside(ledger.path_of(settings)))
    return ledger.open_ledger(settings)
