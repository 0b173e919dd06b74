"""Commits the record of a window: one revision after another, each once (rules 5 to 7)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from verve.cluster.redis_state.hosts import awaited_hosts
from verve.cluster.redis_state.window_state import Outcome, Token
from verve.log import events

if TYPE_CHECKING:
    from verve.cluster.redis_state.cluster_state import ClusterState
    from verve.cluster.redis_state.hosts import HostLines
    from verve.cluster.redis_state.window_state import Step, WindowState
    from verve.log.background import Notices

    from .loss_detector import LossDetector


class Attempt(StrEnum):
    """The result of an attempt to commit."""

    NOT_DUE = "nothing to commit, or hosts are waited for"
    ELSEWHERE = "another leader commits"
    SET_BACK = "hosts have to complete again"
    DONE = "the record holds all that is known"
    LOST = "the state was lost"


@dataclass(slots=True, eq=False)
class RecordCommitter:
    """Commits records in the name of one leader. Every call raises `StoreError`.

    `grace_ms`: how long late hosts are waited for. `owner` names this leader and term among all: an
    earlier one may be in the middle of a commit.
    """

    cluster: ClusterState
    losses: LossDetector
    notices: Notices
    owner: str
    grace_ms: int
    _attempts: int = field(default=0, init=False)

    async def attempt(
        self,
        window_start: int,
        state: WindowState,
        asked_at: int | None = None,
        host: str | None = None,
    ) -> Attempt:
        """Commit the record of a window if that is due, given its `state` of just now.

        `asked_at`: since when a revision is asked for, in milliseconds of Redis's time. `host`: the
        host in whose name the record is committed, if it is not this one.
        """
        if self.losses.is_quiet or not (state.record is None or state.asks_for_revision):
            return Attempt.NOT_DUE
        late = self._late_hosts(window_start, state, await self._lines())
        is_early = bool(late) and not self._is_grace_over(window_start, state, asked_at)
        if is_early or self.losses.is_quiet:
            return Attempt.NOT_DUE
        self._attempts += 1
        token = Token(self.owner, self._attempts)
        # First, so that another host looks if this one dies before it notes the commit.
        await self.cluster.changes.note(window_start)
        host = host or self.cluster.own_id
        begun = await self.cluster.windows.begin(window_start, host, token)
        if begun.outcome is Outcome.BEGUN:
            begun = await self.cluster.windows.fix(window_start, token)
        if begun.outcome is not Outcome.FIXED:
            gone = begun.outcome is Outcome.UNREGISTERED
            return Attempt.LOST if gone else Attempt.ELSEWHERE
        return await self._commit(window_start, host, token, begun.state, asked_at)

    async def _lines(self) -> HostLines:
        """The lines of the hosts; the loss of the own one is noticed."""
        lines = await self.cluster.hosts.read()
        self.losses.see(lines, self.cluster.own_id)
        return lines

    def _is_grace_over(self, window_start: int, state: WindowState, asked_at: int | None) -> bool:
        """Whether late hosts are waited for no longer."""
        since = self.cluster.keys.end(window_start) * 1_000
        if state.record is not None:
            # Several late hosts share one revision, if they come close together.
            since = max(since, state.now if asked_at is None else asked_at)
        return state.now >= since + self.grace_ms

    def _late_hosts(
        self, window_start: int, state: WindowState, lines: HostLines
    ) -> frozenset[str]:
        """The hosts that the window waits for."""
        known, since = self.losses.with_missing(lines), self.losses.in_touch_since
        awaited = awaited_hosts(window_start, state, known, self.cluster.hosts.silent_ms, since)
        return frozenset(awaited - {id for id, host in state.hosts.items() if host.complete})

    async def _commit(
        self, window_start: int, host: str, token: Token, fixed: WindowState, asked_at: int | None
    ) -> Attempt:
        """Count the ids that are there after `fix`, and commit that."""
        windows = self.cluster.windows
        lines = await self._lines()
        stored = await self.cluster.store.count(window_start, fixed.markers.keys())
        epochs = await self.cluster.store.epochs()
        broken = {
            id: its
            for id, its in fixed.hosts.items()
            if its.marker is not None and (its.marker not in stored.markers or its.epochs != epochs)
        }
        for id, its in broken.items():
            await windows.set_back(window_start, id, its)
        late = self._late_hosts(window_start, fixed, lines) | broken.keys()
        is_early = bool(late) and not self._is_grace_over(window_start, fixed, asked_at)
        # A committer that is not complete itself would commit a count that it knows is too low.
        if is_early or host in late or self.losses.is_quiet:
            await windows.release(window_start, token)
            return Attempt.SET_BACK
        step = await windows.commit(
            window_start, self.cluster.own_id, token, fixed, count=stored.ids, complete=not late
        )
        if step.outcome is Outcome.COMMITTED:
            await self.cluster.changes.note(window_start)
        self._report(window_start, step, fixed, late)
        ended = {Outcome.COMMITTED, Outcome.SAME, Outcome.LOWER}
        return Attempt.DONE if step.outcome in ended else Attempt.ELSEWHERE

    def _report(
        self, window_start: int, step: Step, fixed: WindowState, late: frozenset[str]
    ) -> None:
        record = step.state.record
        if record is None:
            return
        if step.outcome is Outcome.LOWER:
            self.notices.put(events.WINDOW_LOWER, window_start=window_start, count=record.count)
        elif step.outcome is Outcome.COMMITTED and late:
            self.notices.put(
                events.WINDOW_DEGRADED,
                window_start=window_start,
                revision=record.revision,
                count=record.count,
                late_hosts=late,
            )
        elif step.outcome is Outcome.COMMITTED and fixed.record is not None:
            self.notices.put(
                events.WINDOW_REVISED,
                window_start=window_start,
                revision=record.revision,
                count=record.count,
                before=fixed.record.count,
            )
