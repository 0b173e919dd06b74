"""Random histories of an archive: its counts are right after each step, and amid one.

Windows come late, hosts restart and are killed, hours and days are rolled up and expire, and ids
are forgotten: while a query reads, or another step goes on. An answer is that of a moment before or
after; a step that changes no ids changes no answer.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from tests.support.archive import places as archive
from verve.archive.errors import ArchiveError
from verve.archive.format import id_file_writer
from verve.archive.format.levels import DAY, HOUR
from verve.archive.query.distinct import distinct
from verve.archive.query.span import By, Span, SpanError
from verve.archive.store import open_store
from verve.archive.upkeep.expiry import Keep
from verve.archive.upkeep.forgetting import forget, tombstones
from verve.archive.upkeep.roll_up import Host
from verve.archive.upkeep.upkeep import Upkeep

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from verve.archive.query.answer import Answer
    from verve.archive.store import ArchiveStore

LENGTH = 1_800
BEGIN = 1_796_083_200 - 2 * HOUR  # two hours before a midnight
END = BEGIN + 28 * HOUR
KEEPS = [Keep(), Keep(minutes=0), Keep(minutes=0, hours=0), Keep(minutes=DAY, hours=DAY)]
STEPS = 16
Windows: TypeAlias = dict[tuple[str, int], frozenset[int]]


class KilledError(BaseException):
    """The process ends here."""


def _kill() -> None:
    raise KilledError


class Interrupting:
    """A store that does something else before one of its calls."""

    def __init__(self, store: ArchiveStore, call: int, interrupt: Callable[[], object]) -> None:
        self._store = store
        self._left = call
        self._interrupt = interrupt
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - that of the store
        found = getattr(self._store, name)

        def call(*given: Any) -> Any:  # noqa: ANN401 - as the real one
            with self._lock:
                self._left -= 1
                if self._left == 0:
                    self._interrupt()
            return found(*given)

        return call if callable(found) else found


@dataclass
class History:
    """An archive of some hosts, and what it must answer."""

    store: ArchiveStore
    scratch: Path
    draw: random.Random
    hosts: tuple[str, ...]
    windows: Windows = field(default_factory=dict)
    forgotten: frozenset[int] = frozenset()
    segments: dict[str, int] = field(default_factory=dict)
    upkeeps: dict[str, Upkeep] = field(default_factory=dict)
    late: list[tuple[str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pool = [self.draw.randrange(-(2**63), 2**63) for _ in range(300)]
        starts = range(BEGIN, END, LENGTH)
        self.late = [(host, start) for host in self.hosts for start in starts]
        self.draw.shuffle(self.late)
        self.segments = dict.fromkeys(self.hosts, 0)
        for _ in range(len(self.late) * 9 // 10):
            self.put()

    def go_on(self) -> None:
        """Take a step: alone, until it is killed, or amid another one or a query."""
        step, other = self._step(), self._step()

        def interrupted(interrupt: Callable[[], object]) -> Interrupting:
            return Interrupting(self.store, self.draw.randrange(1, 60), interrupt)

        def amid() -> None:
            other(self.store)

        match self.draw.choice(["alone", "killed", "amid a step", "amid a query"]):
            case "alone":
                step(self.store)
            case "killed":
                with contextlib.suppress(KilledError):
                    step(interrupted(_kill))
            case "amid a step":
                step(interrupted(amid))
            case _:
                self.ask(interrupted(amid), amid=True)

    def _step(self) -> Callable[[ArchiveStore], object]:
        """One step, as a function of the store that it uses."""
        draw = self.draw
        kind = draw.choice(["put", "turn", "turn", "turn", "forget", "restart"])
        host, keep = draw.choice(self.hosts), draw.choice(KEEPS)
        if kind == "put" and self.late:
            return lambda _store: self.put()
        if kind == "forget":
            id = draw.choice(self.pool)
            return lambda store: self.forget(store, id)
        if kind == "restart":
            self.segments[host] += 1
            self.upkeeps.pop(host, None)
        return lambda store: self.turn(store, host, keep)

    def put(self) -> None:
        """Archive a window that was not there, of the host's present segment."""
        host, start = self.late.pop()
        ids = frozenset(self.draw.sample(self.pool, self.draw.choice([0, 1, 40])))
        # A host leaves out what has a tombstone.
        archive.put_window(
            self.store,
            self.scratch,
            start,
            ids - self.forgotten,
            host=host,
            segment=f"{host}{self.segments[host]}",
            length=LENGTH,
        )
        self.windows = {**self.windows, (host, start): ids}

    def turn(self, store: ArchiveStore, host: str, keep: Keep) -> None:
        """A turn of a host's upkeep. A file that another step replaces is left to the next one."""
        if host not in self.upkeeps or self.upkeeps[host]._keep != keep:
            segment = f"{host}{self.segments[host]}"
            owner = Host(cluster="", host=host, segment=segment, scratch=self.scratch, memory=0)
            self.upkeeps[host] = Upkeep(store, owner, keep)
        upkeep = self.upkeeps[host]
        upkeep._store = store
        try:
            upkeep.turn(END + 2 * DAY)
        except ArchiveError:
            if store is self.store:
                raise
        except KilledError:
            del self.upkeeps[host]
            raise

    def forget(self, store: ArchiveStore, id: int) -> None:
        """Forget an id; it is forgotten once it has its tombstone."""
        try:
            forget(store, "", id, self.scratch)
        finally:
            self.forgotten = frozenset(tombstones(self.store, ""))

    def state(self) -> tuple[Windows, frozenset[int]]:
        """What the archive has now."""
        return self.windows, self.forgotten

    def ask(self, store: ArchiveStore, *, amid: bool = False) -> None:
        """Compare a random span, `amid` of which another step may be taken."""
        by = self.draw.choice([None, By.HOUR, By.HOUR, By.DAY, By.MINUTE])
        step = LENGTH if by is By.MINUTE or self.draw.random() < 0.2 else HOUR
        first, last = sorted(self.draw.sample(range((END - BEGIN) // step + 1), 2))
        span = Span(BEGIN + first * step, BEGIN + last * step)
        before = self.state()
        try:
            answer = distinct(store, "", span, by=by)
        except SpanError:
            assert step == LENGTH
            return
        states = [before, self.state()] if amid else [before]
        assert any(_same(answer, span, *one) for one in states) or (
            # Each bucket is that of a moment.
            amid
            and all(
                any(one.distinct == _count(one.since, one.until, *state) for state in states)
                for one in answer.buckets
            )
        ), (span, by, answer)


def _count(since: int, until: int, windows: Windows, forgotten: frozenset[int]) -> int:
    found: set[int] = set()
    for (_, start), ids in windows.items():
        if since <= start < until:
            found |= ids
    return len(found - forgotten)


def _same(answer: Answer, span: Span, windows: Windows, forgotten: frozenset[int]) -> bool:
    """Whether an answer has all counts of a state, and names exactly what is missing."""
    known = {host for host, start in windows if span.since <= start < span.until}
    lacking: set[tuple[str | None, int]] = {
        (host, start)
        for host in known
        for start in range(span.since, span.until, LENGTH)
        if (host, start) not in windows
    }
    named = {
        (one.host, start) for one in answer.missing for start in range(one.since, one.until, LENGTH)
    }
    if not known:
        lacking = {(None, start) for start in range(span.since, span.until, LENGTH)}
    return (
        all(
            one.distinct == _count(one.since, one.until, windows, forgotten)
            for one in answer.buckets
        )
        and set(answer.hosts) == known
        and named == lacking
        and answer.complete == (not lacking)
    )


@pytest.mark.parametrize("hosts", [("one",), ("one", "two")], ids=["one host", "two hosts"])
@pytest.mark.timeout(590)
def test_counts_are_right_after_each_step_and_amid_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scale: Callable[[int], int],
    hosts: tuple[str, ...],
) -> None:
    monkeypatch.setattr(id_file_writer, "ROW_GROUP", 16)
    # Nothing here outlives the machine.
    monkeypatch.setattr(os, "fsync", lambda _file: None)
    for number in range(scale(20)):
        draw = random.Random(f"{hosts} {number}")
        history = History(open_store(tmp_path / f"ids{number}"), tmp_path, draw, hosts)
        for _ in range(STEPS):
            history.go_on()
            for _ in range(3):
                history.ask(history.store)
