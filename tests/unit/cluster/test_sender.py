from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import rig
from tests.support.cluster.in_process import EventRecorder
from tests.support.redis.server import wait_until
from verve import Counter
from verve._verve import SHARDS, Group
from verve.cluster.replication import sender as module
from verve.cluster.replication.sender import IdSender
from verve.stores import FailureKind, Store, StoreCount, StoreError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from verve.stores import RedisClient

pytestmark = pytest.mark.alone(reason="judges how long it waits")

Ids = frozenset[tuple[int, int, bytes]]


class FakeStore:
    """Keeps ids in memory. Calls follow `plan` one by one, then all succeed."""

    name = "fake"

    def __init__(self, *plan: Exception | float) -> None:
        """`plan`: an error to raise, or seconds to take."""
        self.plan = list(plan)
        self.down = False
        self.calls: list[Ids] = []
        self.began: list[float] = []
        self.kept: set[tuple[int, int, bytes]] = set()
        self.closed = threading.Event()

    async def add(self, window_start: int, groups: Mapping[int, Sequence[bytes]]) -> None:
        """See the port."""
        ids = frozenset((window_start, shard, m) for shard, ms in groups.items() for m in ms)
        self.calls.append(ids)
        self.began.append(time.monotonic())
        if self.down:
            raise StoreError("down", FailureKind.UNREACHABLE)
        if self.plan:
            match self.plan.pop(0):
                case Exception() as error:
                    raise error
                case seconds:
                    await asyncio.sleep(seconds)
        self.kept |= ids

    async def mark(self, window_start: int, marker: bytes) -> None:
        """See the port."""

    async def count(self, window_start: int, markers: Collection[bytes]) -> StoreCount:  # noqa: ARG002
        """See the port."""
        return StoreCount(len(self.kept), frozenset())

    async def epochs(self) -> str:
        """See the port."""
        return ""

    async def close(self) -> None:
        """See the port."""
        self.closed.set()


class Rig:
    """A sender of a counter in memory, to a store that does as planned."""

    def __init__(self, directory: Path) -> None:
        self.clock = rig.clock_in_minute()
        self.counter = Counter(window=60, max_ids=100_000, clock=self.clock)
        self.counter.retention.enable()
        self.store = FakeStore()
        self.told = EventRecorder()
        self.sender = IdSender(self.counter, rig.settings(directory), self._connect, self.told)

    def _connect(self, settings: object) -> tuple[RedisClient, Store]:
        del settings
        nothing: Any = None
        return nothing, self.store

    def start(self) -> None:
        """Start to send."""
        self.sender.start()

    def settle(self, sent: int) -> None:
        """Wait until so many new ids have been sent, and nothing waits."""

        def done() -> bool:
            state = self.sender.state()
            return state.waiting == 0 and state.sent == sent

        wait_until(lambda: done() or None, f"{sent} ids sent", 5)
        wait_until(lambda: self.sender.state().error is None or None, "content", 5)

    def acknowledged(self) -> int:
        """Ids of the first window that the store has acknowledged."""
        return self.counter.replication.acknowledged(rig.MINUTE) or 0

    def ids(self) -> set[int]:
        """The ids that the store has."""
        return {int.from_bytes(member, "little", signed=True) for _, _, member in self.store.kept}


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.sender.stop()
    made.counter.close()


def _member(id: int) -> list[bytes]:
    return [id.to_bytes(8, "little", signed=True)]


def test_the_fake_is_a_store() -> None:
    assert isinstance(FakeStore(), Store)


def test_new_ids_are_sent_and_acknowledged_once(at: Rig) -> None:
    at.start()
    for id in [-1, 0, 1, 2**63 - 1, -(2**63), 1, 0]:
        at.counter.add(id)
    at.settle(5)
    assert at.ids() == {-1, 0, 1, 2**63 - 1, -(2**63)}
    wait_until(lambda: at.acknowledged() == 5 or None, "acknowledged", 5)
    state = at.sender.state()
    assert (state.sent, state.failures, state.waiting, state.left_out) == (5, 0, 0, 0)
    assert state.error is None
    assert 1 <= state.batches <= 5
    assert all(0 <= shard < SHARDS and start == rig.MINUTE for start, shard, _ in at.store.kept)


def test_many_ids_go_in_batches_of_a_bounded_size(at: Rig) -> None:
    at.start()
    at.counter.add_many(range(20_000))
    at.settle(20_000)
    assert at.ids() == set(range(20_000))
    wait_until(lambda: at.acknowledged() == 20_000 or None, "acknowledged", 5)
    # A batch takes whole groups, of which the last may end it late.
    assert max(len(call) for call in at.store.calls) <= 2 * module.BATCH_IDS


def test_ids_of_two_windows_are_told_apart(at: Rig) -> None:
    # Before the start, so that both are of one batch.
    at.counter.replication.queue(100)
    at.counter.add(7)
    at.clock.advance(60)
    at.counter.add(7)
    at.start()
    wait_until(lambda: len(at.store.kept) == 2 or None, "both", 5)
    assert {start for start, _, _ in at.store.kept} == {rig.MINUTE, rig.MINUTE + 60}


def test_a_batch_that_failed_is_sent_again_and_acknowledged_once(at: Rig) -> None:
    at.store.plan = [
        StoreError("busy", FailureKind.LOADING),
        StoreError("busy", FailureKind.LOADING),
    ]
    at.counter.replication.queue(100)
    at.counter.add_many(range(50))
    at.start()
    wait_until(lambda: at.sender.state().error, "an error", 5)
    at.counter.add_many(range(50, 60))
    state = at.sender.state()
    assert state.error == "busy"
    assert state.sent == at.acknowledged() == 0
    assert state.waiting == 60
    at.settle(60)
    # The same batch, though more ids waited meanwhile.
    assert at.store.calls[0] == at.store.calls[1] == at.store.calls[2]
    assert len(at.store.calls[0]) == 50
    wait_until(lambda: at.acknowledged() == 60 or None, "acknowledged", 5)
    assert at.sender.state().failures == 2
    assert at.sender.state().error is None


def test_a_window_that_failed_behind_one_that_did_not(at: Rig) -> None:
    at.counter.replication.queue(100)
    at.counter.add(1)
    at.clock.advance(60)
    at.counter.add(1)
    at.store.plan = [0.0, StoreError("gone", FailureKind.UNREACHABLE)]
    at.start()
    at.settle(2)
    # Both windows again: a part that succeeded is acknowledged only with its batch.
    assert len(at.store.calls) == 4
    at.sender.stop()
    assert at.counter.replication.acknowledged(rig.MINUTE) == 1
    assert at.counter.replication.acknowledged(rig.MINUTE + 60) == 1


def test_a_waiting_request_is_answered_once_the_store_has_the_ids(at: Rig) -> None:
    at.start()
    at.counter.add(5)
    at.settle(1)
    sent = at.sender.state().sent
    told = at.sender.confirm([Group(rig.MINUTE, 3, _member(5)), Group(rig.MINUTE, 4, _member(6))])
    assert told.result(5) is None
    assert {(rig.MINUTE, 3, _member(5)[0]), (rig.MINUTE, 4, _member(6)[0])} <= at.store.kept
    # They are the host's, or were counted when they were new: only those are acknowledged.
    assert at.sender.state().sent == at.acknowledged() == sent


def test_a_waiting_request_gets_no_answer_before_the_store_has_the_ids(at: Rig) -> None:
    at.store.down = True
    at.start()
    told = at.sender.confirm([Group(rig.MINUTE, 0, _member(1))])
    wait_until(lambda: at.sender.state().failures >= 2 or None, "failures", 5)
    assert not told.done()
    at.store.down = False
    assert told.result(5) is None
    assert at.ids() == {1}


def test_a_request_that_gave_up_is_dropped(at: Rig) -> None:
    at.store.down = True
    at.start()
    given_up = at.sender.confirm([Group(rig.MINUTE, 0, _member(1))])
    kept = at.sender.confirm([Group(rig.MINUTE, 0, _member(2))])
    wait_until(lambda: at.sender.state().failures >= 1 or None, "a failure", 5)
    assert given_up.cancel()
    at.store.down = False
    assert kept.result(5) is None
    assert at.ids() == {2}
    with pytest.raises(CancelledError):
        given_up.result(0)


def test_giving_up_during_a_send_harms_nothing(at: Rig) -> None:
    at.store.plan = [1.0]
    at.start()
    given_up = at.sender.confirm([Group(rig.MINUTE, 0, _member(1))])
    wait_until(lambda: at.store.calls or None, "a call", 5)
    assert given_up.cancel()
    assert at.sender.confirm([Group(rig.MINUTE, 0, _member(2))]).result(5) is None
    assert at.told.names() == []


def test_waiting_requests_cause_no_call_of_a_failing_store(at: Rig) -> None:
    at.store.down = True
    at.start()
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        at.sender.confirm([Group(rig.MINUTE, 0, _member(1))])
        time.sleep(0.001)
    # After 0.1, 0.2, 0.4, 0.8 s and so on, each shortened by at most half.
    assert 2 <= len(at.store.calls) <= 6


def test_a_confirmation_is_prompt(at: Rig) -> None:
    at.start()
    started = time.monotonic()
    for number in range(100):
        at.sender.confirm([Group(rig.MINUTE, 0, _member(number))]).result(5)
    assert time.monotonic() - started < 100 * module.LINGER


def test_stopping_sends_what_there_is(at: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STOP_SECONDS", 10.0)
    at.store.plan = [0.2]
    at.start()
    at.counter.add(0)
    wait_until(lambda: at.store.calls or None, "a call", 5)
    at.counter.add_many(range(1, 10_000))
    told = at.sender.confirm([Group(rig.MINUTE, 0, _member(10_000))])
    at.sender.stop()
    assert at.ids() == set(range(10_001))
    assert told.done()
    assert at.acknowledged() == at.sender.state().sent == 10_000
    assert at.store.closed.is_set()


@pytest.mark.parametrize("seconds", [0.0, 30.0])
def test_stopping_does_not_wait_for_a_store_that_does_not_answer(at: Rig, seconds: float) -> None:
    if seconds:
        at.store.plan = [seconds]
    else:
        at.store.down = True
    at.start()
    at.counter.add(1)
    wait_until(lambda: at.store.calls or None, "a call", 5)
    started = time.monotonic()
    at.sender.stop()
    assert time.monotonic() - started < 2 * module.STOP_SECONDS + 0.5
    assert at.acknowledged() == 0


def test_stopping_twice_and_without_a_start_is_stopping(at: Rig, tmp_path: Path) -> None:
    at.start()
    at.sender.stop()
    at.sender.stop()
    never = Rig(tmp_path)
    never.sender.stop()
    never.counter.close()


def test_what_finds_no_room_is_left_out(at: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUEUE_LIMIT", 100)
    at.store.down = True
    at.start()
    at.counter.add(0)
    wait_until(lambda: at.sender.state().failures or None, "a failure", 5)
    at.counter.add_many(range(1, 251))
    state = at.sender.state()
    assert state.left_out > 0
    assert state.waiting + state.left_out == 251
    assert state.waiting <= 100 + 1
    at.store.down = False
    at.settle(state.waiting)
    at.sender.stop()
    assert at.acknowledged() == state.waiting
    # The two figures show whether the completion has to add them.
    assert at.counter.count() - at.acknowledged() == at.sender.state().left_out == state.left_out


def test_a_counter_that_is_closed_ends_it(at: Rig) -> None:
    at.start()
    at.counter.close()
    assert at.store.closed.wait(5)
    assert at.told.names() == []


def test_an_unexpected_error_is_reported(at: Rig) -> None:
    at.store.plan = [ValueError("odd")]
    at.start()
    at.counter.add(1)
    assert at.store.closed.wait(5)
    wait_until(lambda: at.told.names() or None, "a notice", 5)
    assert "odd" in at.told.events[0][1]["error"]
