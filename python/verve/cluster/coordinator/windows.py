"""All windows of a leader that are not let go: from the ring, from spills, or of other hosts."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from verve.cluster.protocol.host_completion import HostCompletion, StateLostError
from verve.cluster.protocol.markers import Markers
from verve.cluster.spill.arena_ids import ArenaIds, GoneError
from verve.windows import ring
from verve.windows.window import Window

from .window_task import WindowTask

if TYPE_CHECKING:
    from collections.abc import Iterable

    from verve.cluster.spill.arena_ids import Ids

    from .parts import Parts

ARENAS = 16
MOST_KEPT = ARENAS // 2
"""Arenas that may wait for Redis; of windows beyond it the oldest are spilled."""
MOST_WATCHED = 64
"""Windows of which only the record is looked at, at once: a day of windows of a second is many."""


class Windows:
    """Begins lives, has them let go in order, and spills what cannot be let go."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._counter = parts.counter
        self._seconds = parts.counter.window
        self._own = parts.host_table.info.id
        self._window_tasks: dict[tuple[str, int], WindowTask] = {}
        self._tasks: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._before = self._followed = self._counter.settled()
        self._unseen: set[int] = set()
        self._old_told = 0.0
        self.has_looked = False
        """Whether what is left from before is known."""
        self.in_touch = asyncio.Event()

    def tasks(self) -> list[asyncio.Task[None]]:
        """One for each window that is not over."""
        return list(self._tasks.values())

    def oldest(self) -> int:
        """Start of the oldest window that has ids of this host to be sent, or the next."""
        starts = [
            task.window_start
            for task in self._window_tasks.values()
            if task.host == self._own and task.ids is not None
        ]
        return min(starts, default=self._counter.published() + self._seconds)

    def unsent(self) -> int:
        """How many windows have ids that are not in Redis."""
        return sum(not task.is_sent for task in self._window_tasks.values())

    def begin_again(self) -> None:
        """Redis lost something: each window looks at what is there."""
        for task in self._window_tasks.values():
            task.begin_again()

    def look_at(self, starts: Iterable[int]) -> None:
        """The records of these windows changed, or are about to."""
        for start in starts:
            if task := self._window_tasks.get((self._own, start)):
                task.wake()
            elif start <= self._followed:
                self._unseen.add(start)
        self._look_on()

    def take_up(self, known: Iterable[Window]) -> None:
        """Look at windows that a leader before let go for having no ids, and saw no record of.

        `known` are those of the ledger.
        """
        seen = {w.window_start for w in known if w.revision and w.window_seconds == self._seconds}
        left = ring.windows_after(self._counter, self._before - ring.RECORDS * self._seconds)
        self._unseen.update(
            window.window_start
            for window in left
            # What ended since is followed anyway, with all that this host has of it.
            if window.window_start <= self._before
            and window.unique == 0
            and window.window_start not in seen
        )

    def _look_on(self) -> None:
        """Begin the lives of windows to be looked at: the newest first, not too many at once."""
        room = MOST_WATCHED - sum(task.ids is None for task in self._window_tasks.values())
        if not self._unseen or room <= 0:
            return
        chosen = sorted(self._unseen, reverse=True)[:room]
        self._unseen.difference_update(chosen)
        figures = self._figures(chosen)
        for start in chosen:
            self._begin(self._parts.markers, start, figures.get(start), None)

    async def tend(self) -> None:
        """Follow the ring, and let go in order; needs no Redis."""
        if not self.has_looked:
            await self._find_spills()
            self.has_looked = True
        published = self._counter.published()
        if published > self._followed:
            self._follow(published)
        now = self._counter.now()
        for key, task in list(self._window_tasks.items()):
            task.provisional(now)
            if task.expire(now) and task.window_start <= self._counter.settled():
                del self._window_tasks[key]
                self._tasks.pop(key).cancel()
                if task.host == self._own:
                    self._parts.markers.forget(task.window_start)
        self._let_go(published)
        self._look_on()
        if time.monotonic() - self._old_told > self._seconds:
            self._old_told = time.monotonic()
            self._parts.spills.remove_old(time.time())

    async def spill(self) -> None:
        """Write the oldest window that holds up the others to disk, if arenas get few."""
        kept = self._counter.kept()
        if not self.has_looked or len(kept) <= MOST_KEPT or not self._parts.spills.due:
            return
        for start in kept:
            task = self._window_tasks.get((self._own, start))
            if task is None or task.lets_go or task.ids is None:
                continue
            try:
                spilled = await asyncio.to_thread(self._parts.spills.write, start, task.ids)
            except GoneError:
                return
            if spilled is not None:
                task.turn_to(spilled)
            return

    async def close_early(self, window_start: int) -> None:
        """Say that all ids of the open window are in Redis, if they are. Raises `StoreError`."""
        parts = self._parts
        count = self._counter.count()
        trusted = parts.markers.trusted(window_start) is not None
        if count and not (trusted and self._counter.acknowledged(window_start) == count):
            return
        closing = HostCompletion(
            self._counter, parts.states, parts.store, parts.markers, parts.notices, early=True
        )
        try:
            await closing.close(window_start, ArenaIds(self._counter, window_start, count))
        except (StateLostError, GoneError):
            return

    def _follow(self, published: int) -> None:
        """Begin the lives of windows that ended since."""
        for window in ring.windows_after(self._counter, self._followed):
            start = window.window_start
            if start <= published and (self._own, start) not in self._window_tasks:
                ids = ArenaIds(self._counter, start, window.unique)
                self._begin(self._parts.markers, start, window, ids)
        self._followed = published

    async def _find_spills(self) -> None:
        for spilled in await asyncio.to_thread(self._parts.spills.found):
            head = spilled.head
            if head.window_seconds != self._seconds:
                # Those of another length stay until they are old, or the length is set back.
                continue
            start, markers = head.window_start, self._parts.markers
            figures = self._figures([start]).get(start)
            if head.identity != self._own:
                # The segment is another one since a restart of the machine; the ids are not.
                markers = Markers(head.identity, self._parts.term, by=self._own)
                if figures is not None:
                    self._begin(markers, start, None, spilled)
                    continue
            of_spill = Window(window_start=start, window_seconds=self._seconds, unique=head.count)
            self._begin(markers, start, figures or of_spill, spilled)

    def _begin(self, markers: Markers, start: int, figures: Window | None, ids: Ids | None) -> None:
        key = (markers.host, start)
        if key in self._window_tasks:
            return
        task = WindowTask(self._parts, start, markers, figures, ids)
        self._window_tasks[key] = task
        self._tasks[key] = asyncio.get_running_loop().create_task(task.run(self.in_touch))

    def _figures(self, starts: list[int]) -> dict[int, Window]:
        """This host's figures of those windows that the ring still has."""
        if not starts:
            return {}
        found = ring.windows_after(self._counter, min(starts) - self._seconds)
        wanted = set(starts)
        return {window.window_start: window for window in found if window.window_start in wanted}

    def _let_go(self, published: int) -> None:
        """Settle the windows from the oldest on, up to the first that is still needed."""
        first = self._counter.settled()
        own = [start for host, start in self._window_tasks if host == self._own]
        oldest = min(own, default=published)
        # What is older than the ring has no record any more; but what has a task is looked at.
        floor = min(published - ring.RECORDS * self._seconds, oldest - self._seconds)
        settled = max(first, floor)
        while settled < published:
            task = self._window_tasks.get((self._own, settled + self._seconds))
            if task is not None and not task.lets_go:
                break
            settled += self._seconds
        if settled > first:
            self._counter.settle(settled)
