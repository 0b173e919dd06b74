"""All windows of a leader that are not over: from the ring, from spills, or of other hosts only."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from verve._verve import ARENAS, RING_RECORDS
from verve.cluster.spill.arena_ids import ArenaIds, GoneError
from verve.windows import ring
from verve.windows.release import Keeper
from verve.windows.window import Window

if TYPE_CHECKING:
    from collections.abc import Iterable

    from verve._verve import Counter
    from verve.cluster.protocol.markers import Markers
    from verve.cluster.runtime.machine import Machine
    from verve.cluster.spill.arena_ids import Ids
    from verve.cluster.spill.spills import Spills
    from verve.windows.release import ArenaRelease

    from .window_task import WindowTask

KEPT_ARENAS = ARENAS // 2
"""Arenas that may wait for Redis; beyond that the oldest windows are spilled."""
WATCHED_AT_ONCE = 64
"""Windows without ids whose records are followed at once: a day of one-second windows is many."""


class NewTask(Protocol):
    """Makes the task of a window."""

    def __call__(
        self, markers: Markers, window_start: int, figures: Window | None, ids: Ids | None
    ) -> WindowTask:
        """`markers` are those of the host in whose name it is completed."""
        ...


class Windows:
    """Starts the tasks of windows, releases windows in order, and spills what cannot be released.

    `markers` are those of this host.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the parts of a term
        self,
        counter: Counter,
        markers: Markers,
        spills: Spills,
        machine: Machine,
        new_task: NewTask,
        release: ArenaRelease,
    ) -> None:
        self._counter = counter
        self._markers = markers
        self._spills = spills
        self._machine = machine
        self._new_task = new_task
        self._arenas = release
        self._seconds = counter.window
        self._windows: dict[tuple[str, int], tuple[WindowTask, asyncio.Task[None]]] = {}
        self._before = self._followed = counter.retention.settled()
        self._unseen: set[int] = set()
        self._removed_old_at = 0.0
        self.knows_spills = False
        """Whether the spills of earlier leaders are found."""

    def tasks(self) -> list[asyncio.Task[None]]:
        """The running tasks, one per window."""
        return [running for _, running in self._windows.values()]

    def own(self) -> dict[int, WindowTask]:
        """The windows of this host by their start; not those of an earlier segment."""
        return {
            start: task
            for (host, start), (task, _) in self._windows.items()
            if host == self._markers.host
        }

    def oldest(self) -> int:
        """Start of the oldest window that has ids of this host to be sent, or of the next one."""
        starts = [start for start, task in self.own().items() if task.ids is not None]
        return min(starts, default=self._counter.ring.newest() + self._seconds)

    def unsent(self) -> int:
        """The number of windows with ids that are not in Redis."""
        return sum(not task.is_sent for task, _ in self._windows.values())

    def with_ids(self) -> list[int]:
        """The windows that have ids of this host."""
        return [start for start, task in self.own().items() if task.ids and task.ids.count]

    def begin_again(self) -> None:
        """Redis lost something: each window sees what is there."""
        for task, _ in self._windows.values():
            task.begin_again()

    def note_changes(self, starts: Iterable[int]) -> None:
        """The records of these windows changed, or are about to."""
        own = self.own()
        for start in starts:
            task = own.get(start)
            if task is not None and not task.is_over:
                task.wake()
            elif start <= self._followed:
                self._unseen.add(start)
        self._watch_unseen()

    def watch_unseen(self, known: Iterable[Window]) -> None:
        """Follow windows that an earlier leader released for having no ids, without a record.

        `known` are those of the ledger.
        """
        seen = {w.window_start for w in known if w.revision and w.window_seconds == self._seconds}
        left = ring.windows_after(self._counter, self._before - RING_RECORDS * self._seconds)
        self._unseen.update(
            window.window_start
            for window in left
            # Windows that ended since have a task anyway, with all ids of this host.
            if window.window_start <= self._before
            and window.unique == 0
            and window.window_start not in seen
        )

    def _watch_unseen(self) -> None:
        """Start tasks of windows to be watched: the newest first, not too many at once."""
        room = WATCHED_AT_ONCE - sum(task.ids is None for task, _ in self._windows.values())
        if not self._unseen or room <= 0:
            return
        chosen = sorted(self._unseen, reverse=True)[:room]
        self._unseen.difference_update(chosen)
        figures = self._figures(chosen)
        for start in chosen:
            self._start(self._markers, start, figures.get(start), None)

    async def step(self) -> None:
        """Follow the ring, and release windows in order; needs no Redis."""
        if not self.knows_spills:
            await self._find_spills()
            self.knows_spills = True
        published = self._counter.ring.newest()
        if published > self._followed:
            self._follow(published)
        now = self._counter.now()
        for key, (task, running) in list(self._windows.items()):
            task.publish_provisional(now)
            if task.expire(now) and task.window_start <= self._counter.retention.settled():
                del self._windows[key]
                running.cancel()
                if task.host == self._markers.host:
                    self._markers.forget(task.window_start)
        self._release(published)
        self._watch_unseen()
        if self._machine.monotonic() - self._removed_old_at > self._seconds:
            self._removed_old_at = self._machine.monotonic()
            self._spills.remove_old(self._machine.wall())

    async def spill(self) -> None:
        """Write the oldest window that holds up the others to disk, if arenas get few."""
        kept = self._counter.retention.kept()
        if not self.knows_spills or len(kept) <= KEPT_ARENAS or not self._spills.may_retry:
            return
        own = self.own()
        for start in kept:
            task = own.get(start)
            if task is None or task.is_releasable or task.ids is None:
                continue
            try:
                spilled = await self._machine.in_thread(self._spills.write, start, task.ids)
            except GoneError:
                return
            if spilled is not None:
                task.use_spill(spilled)
            return

    def _follow(self, published: int) -> None:
        """Start the tasks of windows that ended since."""
        own = self.own()
        for window in ring.windows_after(self._counter, self._followed):
            start = window.window_start
            if start <= published and start not in own:
                ids = ArenaIds(self._counter, start, window.unique)
                self._start(self._markers, start, window, ids)
        self._followed = published

    async def _find_spills(self) -> None:
        for spilled in await self._machine.in_thread(self._spills.find):
            head = spilled.head
            if head.window_seconds != self._seconds:
                # Those of another length stay until they are old, or the length is set back.
                continue
            start, markers = head.window_start, self._markers
            figures = self._figures([start]).get(start)
            if head.identity != self._markers.host:
                # The machine was restarted: the segment is another one, the ids are the same.
                markers = self._markers.in_the_name_of(head.identity)
                if figures is not None:
                    self._start(markers, start, None, spilled)
                    continue
            of_spill = Window(window_start=start, window_seconds=self._seconds, unique=head.count)
            self._start(markers, start, figures or of_spill, spilled)

    def _start(self, markers: Markers, start: int, figures: Window | None, ids: Ids | None) -> None:
        key = (markers.host, start)
        if key in self._windows:
            before, running = self._windows[key]
            if not before.is_over:
                return
            # It waits for its release only, and its record changed.
            running.cancel()
        task = self._new_task(markers, start, figures, ids)
        running = asyncio.get_running_loop().create_task(task.run())
        self._windows[key] = task, running

    def _figures(self, starts: list[int]) -> dict[int, Window]:
        """This host's figures of those windows that the ring still has."""
        if not starts:
            return {}
        found = ring.windows_after(self._counter, min(starts) - self._seconds)
        wanted = set(starts)
        return {window.window_start: window for window in found if window.window_start in wanted}

    def _release(self, published: int) -> None:
        """Settle the windows from the oldest on, up to the first that is still needed."""
        first, own = self._counter.retention.settled(), self.own()
        oldest = min(own, default=published)
        # The ring has no record of older windows; but those that have a task are looked at.
        floor = min(published - RING_RECORDS * self._seconds, oldest - self._seconds)
        settled = max(first, floor)
        while settled < published:
            task = own.get(settled + self._seconds)
            if task is not None and not task.is_releasable:
                break
            settled += self._seconds
        if settled > first:
            self._arenas.permit(Keeper.CLUSTER, settled)
