"""The scripts of a window's state, one by one, on a real Redis."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.support.cluster.in_process import HookedClient, run
from verve.cluster.redis_state.keys import Keys
from verve.cluster.redis_state.window_state import DONE, Outcome, Record, Token, WindowStates

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.support.redis.server import RedisServer

W = int(time.time()) // 60 * 60
A, B = "a" * 16, "b" * 16
MARKER = b"v" + bytes(range(8))
OTHER = b"v" + bytes(8)


def with_states(
    server: RedisServer, cluster: str, steps: Callable[[WindowStates], Awaitable[None]]
) -> None:
    """Run `steps` on the states of a cluster."""

    async def main() -> None:
        client = HookedClient(server.port)
        try:
            await steps(WindowStates(client, Keys(cluster, 60)))
        finally:
            await client.close()

    run(main())


async def completed(states: WindowStates, *hosts: str) -> None:
    """Register and complete hosts without markers."""
    for host in hosts:
        await states.register(W, host, {})
        await states.complete(W, host, None, "-")


async def committed(states: WindowStates, count: int, *, complete: bool, attempt: int) -> Outcome:
    """One attempt to publish, from A."""
    token = Token("A.1", attempt)
    assert (await states.begin(W, A, token)).outcome is Outcome.BEGUN
    fixed = (await states.fix(W, token)).state
    step = await states.commit(W, A, token, fixed, count=count, complete=complete)
    return step.outcome


def test_a_host_registers_once_and_its_markers_are_known(server: RedisServer, cluster: str) -> None:
    async def steps(states: WindowStates) -> None:
        first = await states.register(W, A, {MARKER: A})
        assert first.outcome is Outcome.NEW
        again = await states.register(W, A, {OTHER: B})
        assert again.outcome is Outcome.KNOWN
        assert again.state.markers == {MARKER: A, OTHER: B}
        assert again.state.hosts[A].written == "registered"
        assert abs(again.state.now / 1_000 - time.time()) < 5

    with_states(server, cluster, steps)
    with server.ask() as connection:
        expires = connection.expiretime(Keys(cluster, 60).state(W))
    assert W + 86_400 <= expires <= W + 86_400 + 120


def test_completion_is_news_once_and_needs_a_registration(
    server: RedisServer, cluster: str
) -> None:
    async def steps(states: WindowStates) -> None:
        step = await states.complete(W, A, MARKER, "e 1")
        assert (step.outcome, step.state.hosts) == (Outcome.UNREGISTERED, {})
        await states.register(W, A, {})
        step = await states.complete(W, A, MARKER, "e 1")
        assert (step.outcome, step.state.changes) == (Outcome.COMPLETE, 1)
        standing = step.state.hosts[A]
        assert (standing.complete, standing.marker, standing.epochs) == (True, MARKER, "e 1")
        step = await states.complete(W, A, MARKER, "e 1")
        assert (step.outcome, step.state.changes) == (Outcome.KNOWN, 1)
        step = await states.complete(W, A, MARKER, "e 2")
        assert (step.outcome, step.state.changes) == (Outcome.COMPLETE, 2)
        # A later leader registers again: a complete host stays so, unless ids may come.
        assert (await states.register(W, A, {})).state.hosts[A].complete
        assert not (await states.register(W, A, {}, is_open=True)).state.hosts[A].complete

    with_states(server, cluster, steps)


def test_only_a_complete_host_gets_the_token(server: RedisServer, cluster: str) -> None:
    async def steps(states: WindowStates) -> None:
        assert (await states.begin(W, A, Token("A.1", 1))).outcome is Outcome.UNREGISTERED
        await states.register(W, A, {})
        assert (await states.begin(W, A, Token("A.1", 1))).outcome is Outcome.LATE
        await completed(states, A, B)
        assert (await states.begin(W, A, Token("A.1", 1))).outcome is Outcome.BEGUN
        assert (await states.begin(W, B, Token("B.1", 1))).outcome is Outcome.TAKEN
        # The leader itself need not wait; another leader of the same host has to.
        assert (await states.begin(W, A, Token("A.2", 1))).outcome is Outcome.TAKEN
        assert (await states.begin(W, A, Token("A.1", 2))).outcome is Outcome.BEGUN
        assert (await states.fix(W, Token("A.1", 1))).outcome is Outcome.LOST
        assert (await states.fix(W, Token("A.1", 2))).outcome is Outcome.FIXED
        assert (await states.release(W, Token("A.1", 1))).outcome is Outcome.LOST
        assert (await states.release(W, Token("A.1", 2))).outcome is Outcome.RELEASED
        assert (await states.begin(W, B, Token("B.1", 2))).outcome is Outcome.BEGUN

    with_states(server, cluster, steps)


def test_a_token_falls_free_and_the_slow_publisher_commits_nothing(
    server: RedisServer, cluster: str
) -> None:
    async def steps(states: WindowStates) -> None:
        await completed(states, A, B)
        slow, quick = Token("A.1", 1), Token("B.1", 1)
        await states.begin(W, A, slow)
        seen = (await states.fix(W, slow)).state
        with server.ask() as connection:
            connection.hset(states.keys.state(W), "token_until", seen.now - 1)
        assert (await states.begin(W, B, quick)).outcome is Outcome.BEGUN
        fixed = (await states.fix(W, quick)).state
        step = await states.commit(W, A, slow, seen, count=9, complete=True)
        assert (step.outcome, step.state.record) == (Outcome.LOST, None)
        step = await states.commit(W, B, quick, fixed, count=5, complete=True)
        assert step.outcome is Outcome.COMMITTED
        assert step.state.record is not None
        assert (step.state.record.revision, step.state.record.count) == (1, 5)
        assert (step.state.record.deliverer, step.state.token) == (B, None)

    with_states(server, cluster, steps)


@pytest.mark.parametrize(
    ("count", "complete", "outcome", "record"),
    [
        (11, True, Outcome.COMMITTED, (2, 11, True)),
        (11, False, Outcome.COMMITTED, (2, 11, False)),
        (10, True, Outcome.SAME, (1, 10, True)),
        (10, False, Outcome.SAME, (1, 10, True)),
        (9, True, Outcome.LOWER, (1, 10, True)),
    ],
)
def test_a_record_never_gets_worse(  # noqa: PLR0913, PLR0917 - the table's columns
    server: RedisServer,
    cluster: str,
    count: int,
    complete: bool,
    outcome: Outcome,
    record: tuple[int, int, bool],
) -> None:
    async def steps(states: WindowStates) -> None:
        await completed(states, A)
        assert await committed(states, 10, complete=True, attempt=1) is Outcome.COMMITTED
        await completed(states, B)
        assert (await states.read(W)).asks_for_revision
        assert await committed(states, count, complete=complete, attempt=2) is outcome
        state = await states.read(W)
        assert state.record is not None
        assert (state.record.revision, state.record.count, state.record.complete) == record
        assert not state.asks_for_revision

    with_states(server, cluster, steps)


def test_a_degraded_record_becomes_complete_at_the_same_count(
    server: RedisServer, cluster: str
) -> None:
    async def steps(states: WindowStates) -> None:
        await completed(states, A)
        assert await committed(states, 10, complete=False, attempt=1) is Outcome.COMMITTED
        assert await committed(states, 10, complete=True, attempt=2) is Outcome.COMMITTED
        assert await committed(states, 10, complete=True, attempt=3) is Outcome.SAME

    with_states(server, cluster, steps)


def test_what_completes_after_the_look_asks_for_a_revision(
    server: RedisServer, cluster: str
) -> None:
    async def steps(states: WindowStates) -> None:
        await completed(states, A)
        token = Token("A.1", 1)
        await states.begin(W, A, token)
        fixed = (await states.fix(W, token)).state
        await completed(states, B)
        step = await states.commit(W, A, token, fixed, count=1, complete=False)
        assert step.outcome is Outcome.COMMITTED
        assert step.state.asks_for_revision

    with_states(server, cluster, steps)


def test_a_record_that_moved_is_not_replaced(server: RedisServer, cluster: str) -> None:
    async def steps(states: WindowStates) -> None:
        await completed(states, A)
        token = Token("A.1", 1)
        await states.begin(W, A, token)
        fixed = (await states.fix(W, token)).state
        await states.restore(W, Record(3, 7, complete=True, publisher=B, delivery=DONE))
        step = await states.commit(W, A, token, fixed, count=9, complete=True)
        assert step.outcome is Outcome.MOVED
        assert step.state.record is not None
        assert step.state.record.revision == 3
        # A revision is still asked for: none was made.
        assert step.state.asks_for_revision

    with_states(server, cluster, steps)


def test_a_host_is_set_back_only_from_what_was_seen(server: RedisServer, cluster: str) -> None:
    async def steps(states: WindowStates) -> None:
        await states.register(W, A, {})
        seen = (await states.complete(W, A, MARKER, "e")).state.hosts[A]
        await states.complete(W, A, OTHER, "e")
        assert (await states.set_back(W, A, seen)).outcome is Outcome.MOVED
        seen = (await states.read(W)).hosts[A]
        assert (await states.set_back(W, A, seen)).outcome is Outcome.SET_BACK
        assert not (await states.read(W)).hosts[A].complete

    with_states(server, cluster, steps)


def test_only_a_higher_record_is_restored(server: RedisServer, cluster: str) -> None:
    async def steps(states: WindowStates) -> None:
        def record(revision: int, count: int) -> Record:
            return Record(revision, count, complete=True, publisher=A, delivery=f"{A} 17")

        assert (await states.restore(W, record(2, 5))).outcome is Outcome.RESTORED
        assert (await states.restore(W, record(2, 5))).outcome is Outcome.NEWER
        assert (await states.restore(W, record(1, 9))).outcome is Outcome.NEWER
        # Some host has published the other record of this number, so it gets the next one.
        step = await states.restore(W, record(2, 6))
        assert step.outcome is Outcome.RESTORED
        assert step.state.record is not None
        assert (step.state.record.revision, step.state.record.count) == (3, 6)
        assert step.state.record.deliverer == A
        assert (await states.restore(W, record(2, 6))).outcome is Outcome.NEWER
        state = (await states.restore(W, record(4, 1))).state
        assert state.record == record(4, 1)
        assert not state.asks_for_revision
        await completed(states, A)
        assert (await states.read(W)).asks_for_revision

    with_states(server, cluster, steps)


def test_of_two_records_of_one_number_the_better_gets_the_next(
    server: RedisServer, cluster: str
) -> None:
    async def steps(states: WindowStates) -> None:
        def record(revision: int, count: int, *, complete: bool) -> Record:
            return Record(revision, count, complete=complete, publisher=A, delivery=DONE)

        async def restored(lost: Record) -> tuple[Outcome, int, int, bool]:
            step = await states.restore(W, lost)
            now = step.state.record
            assert now is not None
            return step.outcome, now.revision, now.count, now.complete

        await states.restore(W, record(2, 5, complete=True))
        # It stays, but some host has published its number for the other record.
        found = await restored(record(2, 4, complete=True))
        assert found == (Outcome.RESTORED, 3, 5, True)
        found = await restored(record(3, 5, complete=False))
        assert found == (Outcome.RESTORED, 4, 5, True)
        found = await restored(record(2, 4, complete=True))
        assert found == (Outcome.NEWER, 4, 5, True)
        await states.restore(W, record(5, 6, complete=False))
        # A complete record with all of its ids.
        found = await restored(record(2, 6, complete=True))
        assert found == (Outcome.RESTORED, 6, 6, True)
        await states.restore(W, record(7, 8, complete=False))
        found = await restored(record(6, 6, complete=True))
        assert found == (Outcome.NEWER, 7, 8, False)

    with_states(server, cluster, steps)


def test_a_delivery_is_taken_over_after_a_while_and_noted_once(
    server: RedisServer, cluster: str
) -> None:
    async def steps(states: WindowStates) -> None:
        await completed(states, A)
        await committed(states, 10, complete=True, attempt=1)
        record = (await states.read(W)).record
        assert record is not None
        assert (await states.take_over(W, B, record)).outcome is Outcome.MOVED
        with server.ask() as connection:
            old = f"{A} {record.delivery_since - 10_001}"
            connection.hset(states.keys.state(W), "delivery", old)
        record = (await states.read(W)).record
        assert record is not None
        step = await states.take_over(W, B, record)
        assert step.outcome is Outcome.TAKEN_OVER
        assert step.state.record is not None
        assert step.state.record.deliverer == B
        assert (await states.take_over(W, A, record)).outcome is Outcome.MOVED
        assert (await states.delivered(W, 2)).outcome is Outcome.MOVED
        step = await states.delivered(W, 1)
        assert step.outcome is Outcome.DELIVERED
        assert step.state.record is not None
        assert step.state.record.deliverer is None
        assert (await states.take_over(W, A, step.state.record)).outcome is Outcome.MOVED

    with_states(server, cluster, steps)
