"""How a process of the service gets its counter: attach to the segment, or make it.

A segment of another window length, another cluster or another format is no loss of minutes: once
nobody lives in it, its windows go to the ledger, or it is renamed. One whose file was removed or
replaced is attached to all the same while a process lives in it. The state directory remembers
which segment it had, so that one that is gone is told of.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from verve._verve import Counter, SegmentError, segment_identity
from verve.config import machine
from verve.ledger import ledger
from verve.log import events
from verve.status.status_file import write_told

from .migration import go_on, retire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from verve.config import Settings

PATIENCE = 10.0
"""Seconds that other processes get to finish attaching."""
_RETRY = 0.02


def attach(settings: Settings, clock_offset: int | None = None) -> Counter:
    """The counter of these settings. `clock_offset` is for a segment that is made (see `Counter`).

    Raises `SettingError` on a machine that lacks what Verve needs. Raises `SegmentError` when the
    segment cannot be used: of another owner, of other settings while a process lives in it, or
    without room. Raises `LedgerError` when the windows of a segment of
    other settings cannot be stored; the segment stays as it is then.
    """
    machine.check(settings.segment)
    with _one_at_a_time(settings):
        unfinished = None
        try:
            counter = _open(settings, clock_offset)
        except SegmentError as error:
            if error.alive:
                raise
            if error.reason == "mismatch" and _is_of_this_service(settings):
                unfinished = retire(settings)
            elif error.reason == "format":
                _set_aside(settings.segment)
            else:
                raise
        else:
            _remember(counter, settings)
            return counter
        counter = _open(settings, clock_offset)
        _remember(counter, settings, is_successor=True)
        if unfinished is not None:
            go_on(counter, settings, unfinished)
        return counter


def is_there(settings: Settings) -> bool:
    """Whether there is a segment of these settings, so that none has to be made."""
    try:
        found = segment_identity(settings.segment)
    except SegmentError:
        return False
    is_ours = found["ours"] and _is_of_this_service(settings)
    return is_ours and (found["window"], found["cluster"]) == (settings.window, settings.cluster)


def _is_of_this_service(settings: Settings) -> bool:
    return _real(segment_identity(settings.segment)["state_directory"]) == _real(settings.state_dir)


def _open(settings: Settings, clock_offset: int | None) -> Counter:
    """Attach, whichever links lead to the state directory."""
    directory = _real(settings.state_dir)
    try:
        return _opened(settings, clock_offset, directory)
    except SegmentError as error:
        if error.reason != "mismatch":
            raise
        # Made by a version that kept the name as it was given.
        given = segment_identity(settings.segment)["state_directory"]
        if given == directory or _real(given) != directory:
            raise
        return _opened(settings, clock_offset, given)


def _real(directory: Path | str) -> str:
    return os.path.realpath(directory)


def _opened(settings: Settings, clock_offset: int | None, state_directory: str) -> Counter:
    return Counter(
        settings.segment,
        window=settings.window,
        max_ids=settings.max_ids_per_window,
        cluster=settings.cluster,
        state_directory=state_directory,
        clock_offset=clock_offset,
    )


def _remember(counter: Counter, settings: Settings, *, is_successor: bool = False) -> None:
    """Note which segment the state directory has, and tell of one that was there and is not.

    After a boot of the host there is none, and a successor has taken over from the one before.
    """
    path = settings.state_dir / "segment.json"
    now = {"identity": counter.stats()["identity"], "boot": _boot()}
    before = _read(path)
    if before == now:
        return
    if before and before.get("boot") == now["boot"] and not is_successor:
        events.SEGMENT_LOST.emit(path=settings.segment)
    with contextlib.suppress(OSError):
        write_told(path, now)


def _read(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


@contextlib.contextmanager
def _one_at_a_time(settings: Settings) -> Iterator[None]:
    """Hold the lock on attaching, so that no worker meets a segment that another one retires."""
    path = settings.state_dir / "attach.lock"
    try:
        settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ledger.LedgerError(
            ledger.LedgerFailure.BROKEN, error.strerror or str(error), path
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


def _set_aside(path: Path) -> None:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    kept = path.with_name(f"{path.name}.format-{stamp}")
    path.rename(kept)
    events.SEGMENT_SET_ASIDE.emit(path=path, kept=kept)
