"""Takes the ids of each closed window from its arena to the spool, for one term of a leader.

A window whose ids the disk does not take keeps its arena for a while. Counting comes first: when
such windows hold more than half of the arenas, or more ids than a window may have, the oldest
is dropped.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from verve._verve import ARENAS, SettingError
from verve.archive.errors import ArchiveError
from verve.archive.format.manifest import State
from verve.archive.spool.spool import Spool, SpoolName
from verve.archive.spool.spool_file import SpoolHead
from verve.clock import CLOCK, Clock
from verve.log import events
from verve.status.archive_status import ArchiveReport, ArchiveStatus, Unkept
from verve.windows import ring
from verve.windows.release import Keeper

from .writer_process import WriterProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from verve._verve import Counter
    from verve.cluster.cluster_window import ClusterNote
    from verve.config import Settings
    from verve.windows.release import ArenaRelease
    from verve.windows.window import Window

    from .writer_process import StartWriter

KEPT_ARENAS = ARENAS // 2
"""Arenas that may wait for the spool."""
STUCK_SECONDS = 5.0
"""Time without progress after which the disk counts as stuck, for windows of 1 s."""
AT_ONCE = 1 << 21
"""Ids that are read from the arena at once: 16 MiB."""
_PIECE_IDS = 4_096
APART_SECONDS = 0.5
"""After a boundary the other tasks work first: accepts of the same process wait for the sum."""
_LONGEST_PAUSE = 2.0
_GONE = "its ids were no longer in memory"


class Archivist:
    """Writes windows to the spool, and has them archived. `step` is a task, and so is `guard`."""

    def __init__(  # noqa: PLR0913 - the parts of a term
        self,
        counter: Counter,
        settings: Settings,
        release: ArenaRelease,
        holds: Callable[[], bool],
        *,
        clock: Clock = CLOCK,
        start_writer: StartWriter = WriterProcess,
    ) -> None:
        """`holds`: whether the term goes on."""
        self._counter = counter
        self._settings = settings
        self._release = release
        self._holds = holds
        self._clock = clock
        self._segment = counter.stats()["identity"]
        self._host = socket.gethostname()
        self._token = clock.random.randbytes(6).hex()
        self._spool = Spool(
            settings.state_dir, settings.archive_spool_max, settings.archive_reserve
        )
        self._report = ArchiveReport(settings, clock)
        self._backoff = clock.backoff(_LONGEST_PAUSE)
        options = writer_options(settings, self._segment, self._host)
        self._writer = start_writer(options, self._heard, clock)
        self._through = counter.retention.settled()
        self._given_up: dict[int, str] = {}
        self._notes: deque[ClusterNote] = deque()
        self._trouble: str | None = None
        self._progress_at = clock.monotonic()
        self._began = False
        self._writer_error: str | None = None
        self._writer_attempts = 0

    def note(self, note: ClusterNote) -> None:
        """Have a note of the cluster archived, from any thread."""
        self._notes.append(note)

    def step(self) -> float | None:
        """Write what is new to the spool; seconds until the next step."""
        if wait := self._until_apart():
            return wait
        if not self._began:
            self._spool.remove_parts(self._token)
            self._began = True
        if self._writer.watch():
            self._report.count("writer_starts")
        pause = self._backoff.remaining or self._spool_windows()
        self._spool_notes()
        self._write_status()
        return pause

    def guard(self) -> float | None:
        """Drop the oldest windows if the spool takes none, so that arenas get free."""
        patience = max(STUCK_SECONDS, self._counter.window)
        is_stuck = self._clock.monotonic() - self._progress_at > patience
        if self._trouble is None and not is_stuck:
            return None
        # In a cluster the arena of one that was given up may be kept on, for Redis.
        waiting = [
            start
            for start in self._counter.retention.kept()
            if start > self._through and start not in self._given_up
        ]
        ids = {one.window_start: one.unique for one in self._closed()}
        held = sum(ids.get(start, 0) for start in waiting)
        while waiting and self._holds():
            if len(waiting) <= KEPT_ARENAS and held <= self._settings.max_ids_per_window:
                break
            start = waiting.pop(0)
            held -= ids.get(start, 0)
            self._give_up(start, ids.get(start, 0))
        return None

    def close(self) -> None:
        """End the writer."""
        self._writer.stop()
        self._write_status()

    def _until_apart(self) -> float:
        """Seconds until this task may work beside accepts; 0.0: it may."""
        window = self._counter.window
        since_boundary = window - self._counter.until_boundary()
        return max(0.0, min(APART_SECONDS, window / 4) - since_boundary)

    def _closed(self) -> list[Window]:
        return ring.windows_after(self._counter, self._through)

    def _spool_windows(self) -> float | None:
        """Write the windows that closed since, oldest first; None, or a pause after a failure."""
        for window in self._closed():
            if not self._holds():
                return None
            try:
                if not self._spool_window(window):
                    return None
            except (OSError, ArchiveError) as error:
                return self._failed(window, error)
            self._through = window.window_start
            self._release.permit(Keeper.ARCHIVE, self._through)
            self._progress_at = self._clock.monotonic()
            self._trouble = None
            self._backoff.succeeded()
            self._writer.wake()
        self._progress_at = self._clock.monotonic()
        return None

    def _spool_window(self, window: Window) -> bool:
        """Write one window, with its ids or the reason why there are none.

        False if the term has ended: a successor has the window then.
        """
        start = window.window_start
        if window.gap:
            self._write(window, State.GAP, "no process ran, or a step of the clock skipped it")
        elif window.unique == 0:
            self._write(window, State.EMPTY)
        elif start in self._given_up:
            self._write(window, State.DROPPED, self._given_up[start])
        else:
            try:
                ids = ids_of(self._counter, start, window.unique)
                self._write(window, State.ARCHIVED, ids=ids, count=window.unique)
            except SettingError:
                if not self._holds():
                    return False
                if start in self._given_up:
                    self._write(window, State.DROPPED, self._given_up[start])
                else:
                    self._write(window, State.LOST, _GONE)
                    self._tell(start, window.unique, State.LOST, _GONE)
        self._given_up.pop(start, None)
        return True

    def _give_up(self, window_start: int, ids: int) -> None:
        """Free the arena of a window that the spool did not take in time."""
        reason = self._trouble or "the disk of the spool takes too long"
        self._given_up[window_start] = reason
        self._release.permit(Keeper.ARCHIVE, window_start)
        self._tell(window_start, ids, State.DROPPED, reason)

    def _tell(self, window_start: int, ids: int, state: State, reason: str) -> None:
        """Log and count a window that the archive does not have."""
        if state is State.DROPPED:
            events.ARCHIVE_DROPPED.emit(window_start=window_start, ids=ids, reason=reason)
        else:
            events.ARCHIVE_LOST.emit(window_start=window_start, ids=ids, reason=reason)
        self._report.count(str(state))
        seconds = self._counter.window
        self._report.add_unkept(Unkept(window_start, seconds, str(state), reason))

    def _write(
        self,
        window: Window,
        state: State,
        reason: str | None = None,
        *,
        ids: Iterable[bytes] = (),
        count: int = 0,
    ) -> None:
        head = SpoolHead(
            window_start=window.window_start,
            window_seconds=window.window_seconds,
            segment=self._segment,
            host=self._host,
            cluster=self._settings.cluster,
            count=count,
            state=state,
            reason=reason,
        )
        self._spool.write(head, ids, self._token)

    def _failed(self, window: Window, error: OSError | ArchiveError) -> float:
        self._trouble = str(error).partition("; hint: ")[0]
        if self._backoff.failed():
            events.ARCHIVE_WAITING.emit(window_start=window.window_start, error=error)
        return self._backoff.remaining

    def _spool_notes(self) -> None:
        """Write what the cluster said. What cannot be written is tried again."""
        while self._notes:
            note = self._notes[0]
            # By its time, since the writer may be removing an earlier note of this window.
            number = self._clock.wall_ns()
            name = SpoolName(note.window_start, self._counter.window, self._segment, number)
            try:
                self._spool.note(
                    name,
                    {
                        "cluster": self._settings.cluster,
                        "host": self._host,
                        "hosts": note.hosts,
                        "cluster_count": note.cluster_count,
                        "final": note.final,
                    },
                )
            except OSError as error:
                self._trouble = self._trouble or str(error)
                return
            self._notes.popleft()
            self._writer.wake()

    def _heard(self, message: Mapping[str, Any]) -> None:
        """Take a report of the writer."""
        match message:
            case {"archived": str(state), **values}:
                if state in {"archived", "empty", "gap"}:
                    self._report.count(state)
                self._writer.is_well()
                events.ARCHIVE_WRITTEN.emit(**values)
            case {"failed": str(error), "attempts": int(attempts)}:
                self._writer_error, self._writer_attempts = error, attempts
                if attempts == 1:
                    events.ARCHIVE_DELAYED.emit(error=error, attempts=attempts)
            case {"recovered": int(attempts)}:
                self._writer_error, self._writer_attempts = None, 0
                events.ARCHIVE_RECOVERED.emit(attempts=attempts)
            case {"kept_up": int(at)}:
                self._report.kept_up = at
            case {"lost": str(kept), "error": str(error)}:
                self._report.count("lost")
                events.ARCHIVE_SET_ASIDE.emit(kept=kept, error=error)
            case {"set_aside": str(kept), "error": str(error)}:
                events.ARCHIVE_SET_ASIDE.emit(kept=kept, error=error)
            case _:
                pass

    def _write_status(self) -> None:
        waiting, size = self._spool.usage()
        self._report.write(
            ArchiveStatus(
                waiting=waiting,
                waiting_since=self._waiting_since(),
                spool_bytes=size,
                spool_error=self._trouble,
                error=self._writer_error,
                attempts=self._writer_attempts,
            )
        )

    def _waiting_since(self) -> int:
        """The start of the oldest window that is not in the archive; 0 if there is none."""
        oldest = self._spool.oldest()
        if oldest is None:
            oldest = next((one.window_start for one in self._closed()), None)
        return oldest or 0


def ids_of(counter: Counter, window_start: int, count: int) -> Iterator[bytes]:
    """The `count` ids of a kept window. Raises `SettingError` if they are no longer kept."""
    if count <= AT_ONCE:
        yield counter.ids(window_start).tobytes()
        return
    # By pieces, which take the interpreter longer per id, but bounded memory.
    position: int | None = 0
    while position is not None:
        piece = counter.retention.read_ids(window_start, position, _PIECE_IDS)
        yield b"".join(b"".join(group.members) for group in piece.groups)
        position = piece.following


def writer_options(settings: Settings, segment: str, host: str) -> dict[str, Any]:
    """What the writer's process needs to know."""
    return {
        "segment": segment,
        "host": host,
        "archive": settings.archive,
        "state_dir": str(settings.state_dir),
        "reserve": settings.archive_reserve,
        "spool_max": settings.archive_spool_max,
        "memory": settings.archive_memory,
        "keep": {age.level: age.seconds for age in settings.archive_keep},
        "cluster": settings.cluster,
        "in_cluster": settings.redis_url is not None,
        "leader": os.getpid(),
    }


def spool_retired(
    old: Counter, windows: Iterable[Window], settings: Settings, cluster: str
) -> None:
    """Write windows of a segment that is retired to the spool; what fails is logged.

    `cluster` is that of the segment.
    """
    spool = Spool(settings.state_dir, settings.archive_spool_max, settings.archive_reserve)
    segment, host = old.stats()["identity"], socket.gethostname()
    for window in windows:
        start, count = window.window_start, window.unique
        state = State.GAP if window.gap else State.ARCHIVED if count else State.EMPTY
        head = SpoolHead(
            window_start=start,
            window_seconds=window.window_seconds,
            segment=segment,
            host=host,
            cluster=cluster,
            count=count,
            state=state,
        )
        try:
            spool.write(head, ids_of(old, start, count) if count else (), "retired")
        except (OSError, ArchiveError, SettingError) as error:
            if count:
                events.ARCHIVE_DROPPED.emit(window_start=start, ids=count, reason=error)
                # The next segment may have the rest of this window.
                reason = str(error).partition("; hint: ")[0]
                without = replace(head, count=0, state=State.DROPPED, reason=reason)
                with contextlib.suppress(OSError):
                    spool.write(without, (), "retired")
