"""The loop of the writer: what the spool has goes into the archive; what fails is tried again."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from verve.archive.errors import ArchiveError, DamagedFileError, StoreError
from verve.archive.format import manifest
from verve.archive.format.levels import hour_of
from verve.archive.format.manifest import State, WindowEntry
from verve.archive.spool.spool import DAMAGED, IDS, NOTE, Spool, name_of
from verve.archive.spool.spool_file import SpoolFile
from verve.archive.store import open_store
from verve.archive.store.folder import FolderStore
from verve.archive.upkeep.expiry import Keep
from verve.archive.upkeep.roll_up import Host
from verve.archive.upkeep.upkeep import Upkeep
from verve.clock import CLOCK

from .windows import BUILDING, Hour, WindowWriter

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Mapping

    from verve.archive.spool.spool import SpoolName

AT_ONCE = 64
"""Windows that share one write of their manifest."""
IDLE_SECONDS = 1.0
UPKEEP_SECONDS = 60.0
"""Time between two looks for what is to be rolled up or deleted."""
CLEAN_SECONDS = 3_600.0
"""Time between two looks for what was left behind."""
UNFINISHED_SECONDS = 86_400.0
"""Age at which an unfinished file of the archive is one of a writer that was killed."""
DAMAGED_SECONDS = 7 * 86_400.0
"""How long a damaged file of the spool stays, for whoever looks into it."""
_LONGEST_PAUSE = 30.0
_NOTE_SECONDS = 3_600
"""How long a note waits for its window."""


class Report(Protocol):
    """Tells the leader something."""

    def __call__(self, **message: object) -> None:
        """One message with these values."""


class WriterLoop:
    """Works on one spool for one archive."""

    def __init__(self, options: Mapping[str, Any], wake: threading.Event, report: Report) -> None:
        self._wake = wake
        self._report = report
        self._spool = Spool(Path(options["state_dir"]), options["spool_max"], options["reserve"])
        self._cluster: str = options["cluster"]
        store = open_store(options["archive"])
        self._writer = WindowWriter(
            store,
            self._spool,
            options["memory"],
            options["in_cluster"],
            shares_disk=isinstance(store, FolderStore)
            and _device(store.root) == _device(self._spool.directory),
            set_aside=lambda path, error: report(set_aside=str(path), error=str(error)),
        )
        host = Host(
            cluster=self._cluster,
            host=options["host"],
            segment=options["segment"],
            scratch=self._spool.directory,
            memory=options["memory"],
            in_cluster=options["in_cluster"],
        )
        self._upkeep = Upkeep(store, host, Keep(**options["keep"]))
        self._kept_up_at = -UPKEEP_SECONDS
        self._clean_at = 0.0
        self._backoff = CLOCK.backoff(_LONGEST_PAUSE)
        self._skipped: set[Path] = set()
        """Files that a newer Verve wrote."""

    def run(self) -> None:
        """Work until the process ends."""
        pa.set_cpu_count(1)
        pa.set_io_thread_count(1)
        self._lock()
        self.clean()
        while True:
            self._wake.clear()
            try:
                self.turn()
                self.clean_up()
                self._keep_up()
            except Exception as error:  # noqa: BLE001 - the process must outlive any surprise
                self._failed(error)
            else:
                if attempts := self._backoff.succeeded():
                    self._report(recovered=attempts)
            if pause := self._backoff.remaining:
                time.sleep(pause)
            else:
                self._wake.wait(IDLE_SECONDS)

    def clean(self) -> None:
        """Remove what a writer that was killed did not finish."""
        for path in self._spool.directory.glob(f"*{BUILDING}"):
            path.unlink(missing_ok=True)

    def turn(self) -> None:
        """Put all that the spool has into the archive. Raises the first error, after the others."""
        failures: list[Exception] = []
        for hour, group in groupby(self._found(failures), key=lambda file: Hour.of(file.head)):
            while files := list(islice(group, AT_ONCE)):
                try:
                    self._archive(hour, files, failures)
                except StoreError:
                    raise
                except Exception as error:  # noqa: BLE001 - raised below
                    failures.append(error)
        self._archive_notes()
        if failures:
            raise failures[0]

    def _keep_up(self) -> None:
        """Roll up what has ended, and delete what is old, once in a while."""
        if time.monotonic() - self._kept_up_at >= UPKEEP_SECONDS:
            self.keep_up(int(time.time()))
            self._kept_up_at = time.monotonic()

    def keep_up(self, clock: int) -> None:
        """Roll up what has ended, and delete what is old, at the time that the clock says."""
        names = [name_of(path) for path in self._spool.files(IDS)]
        pending = [name.window_start for name in names if name is not None]
        self._upkeep.turn(clock, pending, bounded=True)
        self._report(kept_up=clock)

    def clean_up(self) -> None:
        """Remove unfinished and damaged files once they are old: they hold ids, too."""
        if time.monotonic() < self._clean_at:
            return
        self._clean_at = time.monotonic() + CLEAN_SECONDS
        store = self._writer.store
        if isinstance(store, FolderStore):
            store.remove_unfinished(UNFINISHED_SECONDS)
        self._spool.remove_damaged(DAMAGED_SECONDS)

    def _lock(self) -> None:
        """Wait for the writer of an earlier leader to end. The lock is held until the end."""
        self._spool.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._spool.directory / "writer.lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)

    def _found(self, failures: list[Exception]) -> Iterable[SpoolFile]:
        """The files of the spool, oldest first. Damaged ones are set aside, as lost windows.

        One that cannot be read stays for another turn, and its error is appended.
        """
        for path in self._spool.files(IDS):
            if path in self._skipped:
                continue
            try:
                yield SpoolFile.open(path)
            except FileNotFoundError:
                continue
            except OSError as error:
                failures.append(error)
            except DamagedFileError as error:
                self._lose(path, error)
            except ArchiveError as error:
                self._skipped.add(path)
                self._report(failed=str(error), attempts=1)

    def _archive(self, hour: Hour, files: list[SpoolFile], failures: list[Exception]) -> None:
        """Archive files of one hour. One that fails stays in the spool; its error is appended."""
        entries: dict[Path, WindowEntry] = {}
        began = time.monotonic()
        for file in files:
            try:
                entries[file.path] = self._writer.put(file)
            except DamagedFileError as error:
                if error.name != str(file.path):
                    raise
                self._lose(file.path, error)
            except StoreError:
                raise
            except Exception as error:  # noqa: BLE001 - raised at the end of the turn
                failures.append(error)
        if not entries:
            return
        self._writer.forget(hour.cluster, (file for file in files if file.path in entries))
        self._writer.note(hour, entries.values())
        seconds = round((time.monotonic() - began) / len(entries), 3)
        for path, entry in entries.items():
            self._spool.remove(path)
            self._report(
                archived=str(entry.state),
                window_start=entry.start,
                window_seconds=entry.length,
                ids=entry.rows,
                seconds=seconds,
            )

    def _lose(self, path: Path, error: DamagedFileError) -> None:
        """Set a damaged file aside, and enter its window as lost."""
        if (name := name_of(path)) is not None:
            entry = WindowEntry(
                start=name.window_start,
                length=name.window_seconds,
                state=State.LOST,
                reason=error.problem,
            )
            self._writer.note(self._hour(name), [entry])
        kept = path.with_name(f"{path.name}{DAMAGED}")
        path.rename(kept)
        self._report(lost=str(kept), error=str(error))

    def _hour(self, name: SpoolName) -> Hour:
        """The hour of a file whose head cannot be read."""
        start = hour_of(name.window_start)
        return Hour(self._cluster, socket.gethostname(), name.segment, start)

    def _archive_notes(self) -> None:
        """Enter what the cluster said into the manifests."""
        for path in self._spool.files(NOTE):
            if (name := name_of(path)) is None:
                continue
            window = f"{name.window_start}-{name.window_seconds}"
            if (self._spool.directory / f"{window}-{name.segment}{IDS}").exists():
                continue
            try:
                values = manifest.opened(path.read_bytes(), str(path))
            except DamagedFileError as error:
                kept = path.with_name(f"{path.name}{DAMAGED}")
                path.rename(kept)
                self._report(set_aside=str(kept), error=str(error))
                continue
            hour = Hour(values["cluster"], values["host"], name.segment, hour_of(name.window_start))
            entered = self._writer.note_cluster(
                hour, name.window_start, name.window_seconds, values
            )
            if entered or path.stat().st_mtime < time.time() - _NOTE_SECONDS:
                self._spool.remove(path)

    def _failed(self, error: Exception) -> None:
        self._backoff.failed()
        self._report(failed=str(error) or repr(error), attempts=self._backoff.attempts)


def _device(path: Path) -> int:
    """The device of a path, or of the nearest folder above it that exists."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path.stat().st_dev
