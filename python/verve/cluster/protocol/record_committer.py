"""Making the record of a window: one revision after another, each once (rules 5 to 7)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from verve.cluster.redis_state.hosts import awaited_hosts
from verve.cluster.redis_state.window_state import Outcome, Token
from verve.log import events

if TYPE_CHECKING:
    from verve.cluster.interfaces import Notices
    from verve.cluster.redis_state.changes import Changes
    from verve.cluster.redis_state.hosts import HostLines, HostTable
    from verve.cluster.redis_state.window_state import Step, WindowState, WindowStates
    from verve.stores.base import Store

    from .loss_detector import LossDetector


class Attempt(StrEnum):
    """What came of an attempt to publish."""

    NOT_DUE = "nothing to publish, or hosts are waited for"
    ELSEWHERE = "another leader publishes"
    SET_BACK = "hosts have to close again"
    DONE = "the record holds all that is known"
    LOST = "the state was lost"


@dataclass(frozen=True, slots=True)
class Look:
    """Who is waited for, who of them is not complete."""

    waited: frozenset[str]
    late: frozenset[str]

    @classmethod
    def at(cls, state: WindowState, waited: set[str]) -> Look:
        """How far the hosts of `waited` are."""
        complete = {id for id, host_state in state.hosts.items() if host_state.complete}
        return cls(frozenset(waited), frozenset(waited - complete))


class RecordCommitter:
    """Publishes windows in the name of one leader. `grace_ms`: how long late hosts are waited for.

    Every call raises `StoreError`.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what it stands between
        self,
        states: WindowStates,
        store: Store,
        host_table: HostTable,
        changes: Changes,
        watch: LossDetector,
        notices: Notices,
        grace_ms: int,
    ) -> None:
        self._states = states
        self._store = store
        self._host_table = host_table
        self._changes = changes
        self._watch = watch
        self._notices = notices
        self._grace_ms = grace_ms
        # Of this process and term: a leader before it may be in the middle of a commit.
        self._owner = f"{host_table.info.id}.{os.urandom(6).hex()}"
        self._attempts = 0

    async def attempt(
        self,
        window_start: int,
        state: WindowState,
        asked_at: int | None = None,
        host: str | None = None,
    ) -> Attempt:
        """Publish a window if that is due, given its `state` of just now.

        `asked_at` is since when a revision is asked for, in Redis's milliseconds. `host` is in
        whose name, if not in our own.
        """
        if self._watch.is_quiet or not (state.record is None or state.asks_for_revision):
            return Attempt.NOT_DUE
        lines = await self._host_table.read()
        late = self._look(window_start, state, lines).late
        if late and not self._is_grace_over(window_start, state, asked_at):
            return Attempt.NOT_DUE
        self._attempts += 1
        token = Token(self._owner, self._attempts)
        # First, so that somebody looks should we not come to tell that it is done.
        await self._changes.note(window_start)
        host = host or self._host_table.info.id
        begun = await self._states.begin(window_start, host, token)
        if begun.outcome is Outcome.BEGUN:
            begun = await self._states.fix(window_start, token)
        if begun.outcome is not Outcome.FIXED:
            gone = begun.outcome is Outcome.UNREGISTERED
            return Attempt.LOST if gone else Attempt.ELSEWHERE
        return await self._publish(window_start, host, token, begun.state, asked_at)

    def _is_grace_over(self, window_start: int, state: WindowState, asked_at: int | None) -> bool:
        """Whether hosts that are late are waited for no longer."""
        since = self._states.keys.end(window_start) * 1_000
        if state.record is not None:
            # Several hosts that are late come in one revision, if they come close together.
            since = max(since, state.now if asked_at is None else asked_at)
        return state.now >= since + self._grace_ms

    def _look(self, window_start: int, state: WindowState, lines: HostLines) -> Look:
        silent_ms, since = self._host_table.silent_ms, self._watch.in_touch_since
        known = self._watch.completed(lines)
        return Look.at(state, awaited_hosts(window_start, state, known, silent_ms, since))

    async def _publish(
        self, window_start: int, host: str, token: Token, fixed: WindowState, asked_at: int | None
    ) -> Attempt:
        """Look at what is there after `fix`, and commit it."""
        lines = await self._host_table.read()
        stored = await self._store.count(window_start, fixed.markers.keys())
        epochs = await self._store.epochs()
        broken = [
            (id, host_state)
            for id, host_state in fixed.hosts.items()
            if host_state.marker is not None
            and (host_state.marker not in stored.markers or host_state.epochs != epochs)
        ]
        for id, host_state in broken:
            await self._states.set_back(window_start, id, host_state)
        late = self._look(window_start, fixed, lines).late | {id for id, _ in broken}
        waits = bool(late) and not self._is_grace_over(window_start, fixed, asked_at)
        # Whoever publishes is itself complete: it would publish what it knows is less.
        if waits or host in late or self._watch.is_quiet:
            await self._states.release(window_start, token)
            return Attempt.SET_BACK
        step = await self._states.commit(
            window_start,
            self._host_table.info.id,
            token,
            fixed,
            count=stored.ids,
            complete=not late,
        )
        if step.outcome is Outcome.COMMITTED:
            await self._changes.note(window_start)
        self._tell(window_start, step, fixed, late)
        ended = {Outcome.COMMITTED, Outcome.SAME, Outcome.LOWER}
        return Attempt.DONE if step.outcome in ended else Attempt.ELSEWHERE

    def _tell(
        self, window_start: int, step: Step, fixed: WindowState, late: frozenset[str]
    ) -> None:
        record = step.state.record
        if record is None:
            return
        if step.outcome is Outcome.LOWER:
            self._notices.put(events.WINDOW_LOWER, window_start=window_start, count=record.count)
        elif step.outcome is Outcome.COMMITTED and late:
            self._notices.put(
                events.WINDOW_DEGRADED,
                window_start=window_start,
                revision=record.revision,
                count=record.count,
                late_hosts=late,
            )
        elif step.outcome is Outcome.COMMITTED and fixed.record is not None:
            self._notices.put(
                events.WINDOW_REVISED,
                window_start=window_start,
                revision=record.revision,
                count=record.count,
                before=fixed.record.count,
            )
