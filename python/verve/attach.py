"""How a process of the service gets its counter: attach to the segment, or make it.

A segment of another window length or another format is no loss of minutes: once nobody lives in it,
its windows go to the ledger by their own length, or it is renamed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from typing import TYPE_CHECKING

from . import events
from ._verve import Counter, SegmentError, segment_identity
from .publishing import ledger
from .publishing.drain import LOG, LOG_CURSOR
from .window import Window

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .config import Settings
    from .window import Key

PATIENCE = 10.0
"""Seconds that other processes get to finish attaching."""
_RETRY = 0.02


def attach(settings: Settings, clock_offset: int | None = None) -> Counter:
    """The counter of these settings. `clock_offset` is for a segment that is made (see `Counter`).

    Raises `SegmentError` when the segment cannot be used: of another owner, of other settings while
    a process lives in it, or without room. Raises `LedgerError` when the windows of a segment of
    another window length cannot be stored; the segment stays as it is then.
    """
    with _one_at_a_time(settings):
        try:
            return _open(settings, clock_offset)
        except SegmentError as error:
            if error.alive:
                raise
            if error.reason == "mismatch" and _other_length(settings):
                _retire(settings)
            elif error.reason == "format":
                _set_aside(settings.segment)
            else:
                raise
        return _open(settings, clock_offset)


def _open(settings: Settings, clock_offset: int | None) -> Counter:
    return Counter(
        settings.segment,
        window=settings.window,
        max_ids=settings.max_ids_per_window,
        cluster=settings.cluster,
        state_directory=str(settings.state_dir),
        clock_offset=clock_offset,
    )


@contextlib.contextmanager
def _one_at_a_time(settings: Settings) -> Iterator[None]:
    """Hold the lock on attaching, so that no worker meets a segment that another one retires."""
    path = settings.state_dir / "attach.lock"
    try:
        settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ledger.LedgerError(
            ledger.LedgerTrouble.BROKEN, error.strerror or str(error), path
        ) from error
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise _busy(path) from None
                time.sleep(_RETRY)
        yield
    finally:
        os.close(descriptor)


def _busy(path: Path) -> SegmentError:
    error = SegmentError(
        f"another process has been attaching for {PATIENCE:.0f} s: `{path}`; "
        "hint: see whether one of the service's processes is stopped"
    )
    error.reason, error.alive = "busy", True
    return error


def _other_length(settings: Settings) -> bool:
    """Whether the window's length is all that keeps us from the segment."""
    found = segment_identity(settings.segment)
    return (
        found["window"] != settings.window
        and found["cluster"] == settings.cluster
        and found["state_directory"] == str(settings.state_dir)
    )


def _retire(settings: Settings) -> None:
    """Close all windows of a segment by their own length, store them, and remove its file."""
    with Counter(
        settings.segment,
        window=None,
        cluster=settings.cluster,
        state_directory=str(settings.state_dir),
    ) as old:
        windows = [Window.from_record(record) for record in old.closed()]
        # An empty one would stand in the way of its successor, should the length change back soon.
        if old.count():
            windows.append(Window.from_record(old.seal()))
        logged = old.cursor(LOG_CURSOR)
        length = old.window
        taken: dict[tuple[str, Key], float] = {
            (LOG, window.key): time.time() for window in windows if window.window_start <= logged
        }
        opened = _opened_ledger(settings)
        try:
            opened.record(windows, sinks=settings.sinks, taken=taken)
        finally:
            opened.close()
        settings.segment.unlink()
    events.SEGMENT_RETIRED.emit(path=settings.segment, window_seconds=length, windows=len(windows))


def _opened_ledger(settings: Settings) -> ledger.Ledger:
    try:
        return ledger.open_ledger(settings)
    except ledger.LedgerError as error:
        if error.trouble is not ledger.LedgerTrouble.DAMAGED:
            raise
    events.LEDGER_SET_ASIDE.emit(kept=ledger.set_aside(ledger.path_of(settings)))
    return ledger.open_ledger(settings)


def _set_aside(path: Path) -> None:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    kept = path.with_name(f"{path.name}.format-{stamp}")
    path.rename(kept)
    events.SEGMENT_SET_ASIDE.emit(path=path, kept=kept)
