from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter as EventCounts
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import rig
from verve._verve import Group, shard_of
from verve.cluster.replication import sender
from verve.cluster.replication.pending_acks import PendingAcks
from verve.cluster.replication.sender import IdSender
from verve.log import events
from verve.log.background import Notices
from verve.stores.base import FailureKind, StoreCount, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from verve import Counter

pytestmark = pytest.mark.alone(reason="counts processor time")

Failing = Exception | float | None


class PlannedStore:
    """Keeps ids in memory. Each call takes the next of `plan`: an error, seconds to wait, or None.

    `after` are errors of calls that do what they were asked, as when a reply is lost.
    """

    name = "planned"

    def __init__(self) -> None:
        self.ids: dict[int, set[bytes]] = {}
        self.calls: list[int] = []
        """Ids of each call that was made."""
        self.plan: list[Failing] = []
        self.always: Failing = None
        self.is_reply_lost = False
        self.closed = 0
        self.loops: set[int] = set()

    async def add(self, window_start: int, groups: Mapping[int, Sequence[bytes]]) -> None:
        """See the port."""
        self.loops.add(id(asyncio.get_running_loop()))
        self.calls.append(sum(map(len, groups.values())))
        for shard, members in groups.items():
            for member in members:
                assert shard_of(int.from_bytes(member, "little", signed=True)) == shard
        what = self.plan.pop(0) if self.plan else self.always
        if isinstance(what, Exception) and not self.is_reply_lost:
            raise what
        if isinstance(what, float):
            await asyncio.sleep(what)
        for members in groups.values():
            self.ids.setdefault(window_start, set()).update(members)
        if isinstance(what, Exception):
            raise what

    async def mark(self, window_start: int, marker: bytes) -> None:
        """See the port."""

    async def count(self, window_start: int, markers: Collection[bytes]) -> StoreCount:
        """See the port."""
        del markers
        return StoreCount(len(self.ids.get(window_start, ())), frozenset())

    async def epochs(self) -> str:
        """See the port."""
        return "planned"

    async def close(self) -> None:
        """See the port."""
        self.closed += 1


class EventRecorder(Notices):
    """Records events."""

    def __init__(self) -> None:
        super().__init__()
        self.names: EventCounts[str] = EventCounts()

    def put(self, event: Any, **values: Any) -> None:  # noqa: ANN401 - as in `Notices`
        """See `Notices`."""
        del values
        self.names[event.name] += 1


class Rig:
    """A counter, a store that fails as planned, and the sender between them."""

    def __init__(self, directory: Path) -> None:
        settings = rig.settings(directory, cluster="shop", max_ids_per_window="200000")
        self.counter: Counter = rig.counter_of(settings, rig.clock_in_minute())
        self.store = PlannedStore()
        self.told = EventRecorder()
        # It uses no client.
        connect: Any = lambda _settings: (None, self.store)  # noqa: E731 - it needs this type
        self.sender = IdSender(self.counter, settings, connect, self.told)

    def start(self) -> None:
        """Start to send."""
        self.sender.start()

    @property
    def acknowledged(self) -> int:
        """Of the window."""
        return self.counter.replication.acknowledged(rig.MINUTE) or 0

    @property
    def there(self) -> int:
        """Ids that the store has."""
        return len(self.store.ids.get(rig.MINUTE, ()))


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.sender.stop()
    made.counter.close()


def wait_until(met: Callable[[], object], timeout: float = 10) -> None:
    end = time.monotonic() + timeout
    while not met():
        assert time.monotonic() < end
        time.sleep(0.005)


def placed(*ids: int) -> list[Group]:
    return [Group(rig.MINUTE, shard_of(id), [id.to_bytes(8, "little", signed=True)]) for id in ids]


def away() -> StoreError:
    return StoreError("Redis: away", FailureKind.UNREACHABLE)


def test_batches_grow_while_one_is_under_way(one: Rig) -> None:
    one.store.always = 0.2
    one.start()
    for start in range(0, 1_000, 10):
        one.counter.add_many(range(start, start + 10))
        time.sleep(0.005)
    wait_until(lambda: one.acknowledged == 1_000)
    assert len(one.store.calls) < 50


def test_a_lost_reply_counts_nothing_twice(one: Rig) -> None:
    one.store.plan = [away(), away()]
    one.store.is_reply_lost = True
    one.start()
    one.counter.add_many(range(100))
    wait_until(lambda: one.acknowledged)
    assert one.acknowledged == one.there == 100


def test_an_unexpected_error_ends_nothing(one: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    one.store.plan = [RuntimeError("a surprise"), ValueError("and another one")]
    one.start()
    one.counter.add_many(range(100))
    wait_until(lambda: one.acknowledged == 100)
    assert one.told.names[events.SHIPPER_STUMBLED.name] == 2
    assert one.store.closed == 2
    monkeypatch.setattr(one.sender, "_connect", lambda _settings: 1 / 0)
    one.store.plan = [RuntimeError("a third")]
    one.counter.add_many(range(100, 200))
    wait_until(lambda: "ZeroDivisionError" in (one.sender.state().error or ""))


def test_a_stop_sends_what_there_is(one: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "STOP_SECONDS", 10.0)
    one.store.always = 0.05
    one.start()
    wait_until(lambda: one.sender._running)
    one.counter.add_many(range(20_000))
    one.sender.stop()
    assert one.acknowledged == one.there == 20_000
    assert one.store.closed == 1


@pytest.mark.parametrize("failing", [away(), 30.0, RuntimeError("a surprise")])
def test_a_stop_does_not_wait_for_a_store_that_is_away(one: Rig, failing: Failing) -> None:
    one.store.always = failing
    one.start()
    one.counter.add_many(range(100))
    wait_until(lambda: one.store.calls)
    began = time.monotonic()
    one.sender.stop()
    assert time.monotonic() - began < 2.5
    wait_until(lambda: not [t for t in threading.enumerate() if t.name == "verve-store"])
    assert one.acknowledged == 0


def test_idle_it_costs_next_to_nothing(one: Rig) -> None:
    one.start()
    wait_until(lambda: one.sender._running)
    thread = one.sender._thread
    assert thread is not None
    assert thread.ident is not None
    clock = time.pthread_getcpuclockid(thread.ident)
    before = time.clock_gettime(clock)
    time.sleep(1)
    # One that is never idle would take all of it.
    assert time.clock_gettime(clock) - before < 0.25


def test_waiting_from_another_loop(one: Rig) -> None:
    one.start()

    async def ask() -> None:
        async def wait(number: int) -> None:
            await asyncio.wrap_future(one.sender.confirm(placed(number)))

        await asyncio.gather(*(wait(number) for number in range(2_000)))

    asyncio.run(ask())
    assert one.there == 2_000
    assert len(one.store.calls) < 500


def test_nobody_waits_for_the_large_batch_of_another(one: Rig) -> None:
    one.store.always = 0.01
    one.start()
    many = one.sender.confirm(
        [Group(rig.MINUTE, shard, members) for shard, members in _many(100_000).items()]
    )
    one.sender.confirm(placed(7)).result(5)
    assert not many.done()
    many.result(20)
    assert one.there == 100_000


def _many(count: int) -> dict[int, list[bytes]]:
    found: dict[int, list[bytes]] = {}
    for id in range(count):
        found.setdefault(shard_of(id), []).append(id.to_bytes(8, "little"))
    return found


def test_pieces_are_the_same_until_they_are_there() -> None:
    waits = PendingAcks()
    futures: list[Future[None]] = [Future() for _ in range(3)]
    groups = [
        [Group(0, 1, [b"a", b"b", b"c"]), Group(60, 2, [b"d"])],
        [Group(0, 3, [b"e"])],
        [],
    ]
    for each, future in zip(groups, futures, strict=True):
        waits.put(each, future)
    assert futures[2].done(), "who waits for nothing is told at once"
    first = waits.pieces(4)
    assert first == waits.pieces(4) == [Group(0, 1, [b"a", b"b"]), Group(0, 3, [b"e"])]
    waits.sent()
    assert [future.done() for future in futures] == [False, True, True]
    assert waits.pieces(4) == [Group(0, 1, [b"c"]), Group(60, 2, [b"d"])]
    waits.sent()
    assert futures[0].done()
    assert (len(waits), waits.pieces(4)) == (0, [])
