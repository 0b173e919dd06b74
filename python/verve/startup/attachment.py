"""Attachment: inspect the machine and the segment, migrate a segment of other settings, open it.

A change of the window length or of the cluster loses no windows: once no process uses the segment,
its windows go to the ledger. A segment of another format is renamed. A segment whose file was
removed or replaced is attached to all the same while a process uses it. The state directory notes
the identity of its segment, so that the loss of one is logged, and known to the archive.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from verve import directories
from verve._verve import Counter, SegmentError, segment_identity
from verve.config import machine
from verve.ledger import ledger
from verve.log import events
from verve.status.status_file import write_status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from verve.config import Settings

    from .migration import OpenWindow

LOCK_SECONDS = 10.0
"""Time that other processes get to finish their attachment."""
_RETRY_SECONDS = 0.02
_IDENTITY_FILE = "segment.json"
_IDENTITY = re.compile(r"[0-9A-Za-z]{1,64}")
_ARCHIVE = "archive"


def attach(settings: Settings, clock_offset: int | None = None) -> Counter:
    """The counter of the segment, which is made if there is none.

    A new segment is made with `clock_offset` (see `Counter`).

    Raises `SettingError` on a machine that lacks what Verve needs. Raises `SegmentError` when the
    segment cannot be used: it has another owner, or other settings while a process uses it, or no
    room. Raises `LedgerError` when the windows of a segment of other settings cannot be stored; the
    segment stays as it is then.
    """
    machine.check(settings.segment)
    with _attach_lock(settings):
        try:
            counter = _open(settings, clock_offset)
        except SegmentError as obstacle:
            open_window = _migrate(settings, obstacle)
            obstacle_reason = obstacle.reason
        else:
            _note_identity(counter, settings)
            return counter
        counter = _open(settings, clock_offset)
        # One of another format was set aside with its windows.
        has_all = obstacle_reason == "mismatch"
        _note_identity(counter, settings, is_successor=True, has_all=has_all)
        if open_window is not None:
            from .migration import continue_window  # noqa: PLC0415 - as in `_migrate`

            continue_window(counter, settings, open_window)
        return counter


def _migrate(settings: Settings, obstacle: SegmentError) -> OpenWindow | None:
    """Make way for a new segment; gives the window that may go on in it.

    Raises `obstacle` if the segment must stay, and what `retire` raises.
    """
    if obstacle.alive:
        raise obstacle
    if obstacle.reason == "mismatch" and _is_of_this_service(settings):
        # Imported here, since most starts migrate nothing.
        from .migration import retire  # noqa: PLC0415

        noted = _read(settings.state_dir / _IDENTITY_FILE)
        return retire(settings, keeps_for_archive=noted.get("keeper") == _ARCHIVE)
    if obstacle.reason == "format":
        _set_aside(settings.segment)
        return None
    raise obstacle


def has_segment(settings: Settings) -> bool:
    """Whether a segment of these settings exists, so that none has to be made."""
    try:
        found = segment_identity(settings.segment)
    except SegmentError:
        return False
    if not found["ours"] or not _is_of_this_service(settings):
        return False
    return (found["window"], found["cluster"]) == (settings.window, settings.cluster)


def _is_of_this_service(settings: Settings) -> bool:
    found = segment_identity(settings.segment)["state_directory"]
    return os.path.realpath(found) == os.path.realpath(settings.state_dir)


def _open(settings: Settings, clock_offset: int | None) -> Counter:
    """Open or make the segment, whichever links lead to the state directory."""
    directory = os.path.realpath(settings.state_dir)
    try:
        return _counter(settings, clock_offset, directory)
    except SegmentError as error:
        if error.reason != "mismatch":
            raise
        # An earlier version kept the name of the directory as it was given.
        given = segment_identity(settings.segment)["state_directory"]
        if given == directory or os.path.realpath(given) != directory:
            raise
        return _counter(settings, clock_offset, given)


def _counter(settings: Settings, clock_offset: int | None, state_directory: str) -> Counter:
    return Counter(
        settings.segment,
        window=settings.window,
        max_ids=settings.max_ids_per_window,
        cluster=settings.cluster,
        state_directory=state_directory,
        clock_offset=clock_offset,
    )


def _note_identity(
    counter: Counter, settings: Settings, *, is_successor: bool = False, has_all: bool = False
) -> None:
    """Note the identity of the segment in the state directory, and log the loss of the one before.

    It is no loss after a boot of the host, nor if this segment is the successor of that one. To the
    archive it is a loss unless the windows of that segment were stored: `has_all`.
    """
    path = settings.state_dir / _IDENTITY_FILE
    now = {"identity": counter.stats()["identity"], "boot": _boot()}
    before = _read(path)
    # Until a leader without an archive ends that, they are kept for the archive.
    goes_on = before == {**now, "keeper": _ARCHIVE} and counter.retention.settled() != 0
    if settings.redis_url is None and (settings.archive is not None or goes_on):
        # Who keeps ids in the segment, which the segment does not tell.
        now["keeper"] = _ARCHIVE
    if before == now:
        return
    is_lost = before.get("identity") != now["identity"] and before.get("boot") == now["boot"]
    if is_lost and not is_successor:
        events.SEGMENT_LOST.emit(path=settings.segment)
    with contextlib.suppress(OSError):
        earlier = before.get("identity")
        if settings.archive is not None and not has_all and earlier not in {None, now["identity"]}:
            # First: what fails is tried again at the next attachment.
            _lose_for_archive(counter, settings, str(earlier))
        write_status(path, now)


def _lose_for_archive(counter: Counter, settings: Settings, earlier: str) -> None:
    # Imported here, since most hosts have no archive.
    from verve.archive.leader.lost_segment import spool_lost  # noqa: PLC0415

    if _IDENTITY.fullmatch(earlier):
        spool_lost(counter, settings, earlier)


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
def _attach_lock(settings: Settings) -> Iterator[None]:
    """Hold the lock on attachment, so that no worker meets a segment that another one retires."""
    path = settings.state_dir / "attach.lock"
    try:
        directories.make(settings.state_dir)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ledger.LedgerError(
            ledger.LedgerFailure.BROKEN, error.strerror or str(error), path
        ) from error
    try:
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise _busy(path) from None
                time.sleep(_RETRY_SECONDS)
        yield
    finally:
        os.close(descriptor)


def _busy(path: Path) -> SegmentError:
    error = SegmentError(
        f"another process has been attaching for {LOCK_SECONDS:.0f} s: `{path}`; "
        "hint: check whether a process of the service is stopped"
    )
    error.reason, error.alive = "busy", True
    return error


def _set_aside(path: Path) -> None:
    """Rename a segment of another format."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    kept = path.with_name(f"{path.name}.format-{stamp}")
    path.rename(kept)
    events.SEGMENT_SET_ASIDE.emit(path=path, kept=kept)
