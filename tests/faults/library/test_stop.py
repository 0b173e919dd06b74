"""Processes stopped by SIGSTOP at bad moments: the others go on, and no count is ever wrong."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.support.processes.children import Board, wait_until
from tests.support.processes.observer import Observer
from tests.support.processes.parts import (
    ROUNDS,
    TERM,
    Opening,
    add_on,
    lead_on,
    wait_published,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.conftest import Start
    from tests.support.processes.parts import Remote

pytestmark = pytest.mark.alone(reason="stops calls of some milliseconds midway")

NOW = 1_800_000_000.0
BATCH = 600_000
OTHERS = 1 << 40


def stop_inside(remote: Remote, delay: float) -> bool:
    """Stop a process some seconds into its call; False if it was out of it by then."""
    end = time.monotonic() + delay
    while time.monotonic() < end:  # a sleep would be longer than some calls
        pass
    remote.child.stop()
    return remote.inside()


def in_batch(ids: np.ndarray[tuple[int], np.dtype[np.int64]], batch: range) -> int:
    return int(((ids >= batch.start) & (ids < batch.stop)).sum())


@pytest.mark.parametrize("sealer", ["leader", "writer"])
def test_a_batch_stopped_over_a_boundary(
    segment: Path,
    tmp_path: Path,
    start: Start,
    remote: Callable[[Opening], Remote],
    sealer: str,
) -> None:
    opening = Opening(segment, window=1, max_ids=BATCH)
    batches = remote(opening)
    with Observer(segment, 1, BATCH) as observer:
        counter = observer.counter
        part = (lead_on, 0.05) if sealer == "leader" else (add_on, OTHERS)
        start(part[0], opening, tmp_path / "part", part[1]).receive()
        for attempt in range(20):
            batch = range(attempt * BATCH, (attempt + 1) * BATCH)
            wait_until(lambda: 0.25 < counter.until_boundary() < 0.5, 5, "before a boundary")
            window = counter.current().window_start
            batches.begin("add_many_by_window", batch)
            stopped = stop_inside(batches, 0.01)
            begun = in_batch(np.frombuffer(counter.ids(), np.int64), batch) > 0
            if stopped and begun and counter.now() < window + 1:
                break
            batches.child.resume()
            batches.result()
        else:
            pytest.fail("the batch was never stopped in time")

        assert wait_published(counter, window, 4) < 4
        wait_until(lambda: window in observer.observed, 5, "listed")
        before = in_batch(observer.observed[window], batch)
        assert 0 < before < BATCH
        [record] = [r for r in counter.closed() if r.window_start == window]
        assert record.unique == len(observer.observed[window])
        # Two more windows come and go while it is stopped.
        assert wait_published(counter, window + 1, 4) < 4
        batches.child.resume()
        answer = dict(batches.result())
        records = observer.finish()

    assert sum(answer.values()) == BATCH
    assert answer.get(window, 0) == before
    assert min(answer) >= window
    assert len(answer) > 1
    for start_of, ids in observer.observed.items():
        assert in_batch(ids, batch) == answer.get(start_of, 0)
    assert {r.window_start: r.unique for r in records if r.window_start in observer.observed} == {
        start_of: len(ids) for start_of, ids in observer.observed.items()
    }
    assert record in records


@pytest.mark.parametrize("pause", [0.0, 0.05], ids=["inside tend", "between"])
def test_a_stopped_leader_is_replaced(
    segment: Path, tmp_path: Path, start: Start, pause: float, scale: Callable[[int], int]
) -> None:
    opening = Opening(segment, window=1)
    leaders = [start(lead_on, opening, tmp_path / f"lead-{n}", pause) for n in range(2)]
    for leader in leaders:
        leader.receive()
    boards = [Board(tmp_path / f"lead-{n}") for n in range(2)]
    start(add_on, opening, tmp_path / "adds", OTHERS).receive()
    with Observer(segment, 1, 100_000) as observer:
        counter = observer.counter
        wait_until(counter.lease.holder, 5, "led")
        for _ in range(scale(10)):
            leading = counter.lease.holder()
            assert leading is not None
            at = next(n for n, leader in enumerate(leaders) if leader.pid == leading.process)
            assert leading.alive
            assert counter.lease.is_current(leading.term)
            wait_until(lambda: 0.1 < counter.until_boundary() < 0.3, 5, "before a boundary")
            window = counter.current().window_start
            leaders[at].stop()
            assert wait_published(counter, window, 6) < 6
            assert wait_published(counter, window + 1, 6) < 6
            successor = counter.lease.holder()
            assert successor is not None
            assert successor.term > leading.term
            assert successor.process == leaders[1 - at].pid
            rounds = boards[at][ROUNDS]
            leaders[at].resume()
            boards[at].wait(ROUNDS, rounds + 3)
            assert boards[at][TERM] == 0, "the old leader noticed that it leads no more"
            assert not counter.lease.is_current(leading.term)
            assert counter.lease.is_current(successor.term)
        records = observer.finish()
    for board in boards:
        board.close()
    assert {r.window_start: r.unique for r in records if r.window_start in observer.observed} == {
        window: len(ids) for window, ids in observer.observed.items()
    }
    starts = [record.window_start for record in records]
    assert starts == list(range(starts[0], starts[-1] + 1)), "no window twice, none missing"


@pytest.mark.timeout(300)
def test_batches_stopped_anywhere(
    segment: Path,
    scale: Callable[[int], int],
    remote: Callable[[Opening], Remote],
) -> None:
    opening = Opening(segment, max_ids=BATCH, wall=NOW)
    batches = remote(opening)
    clock = opening.clock()
    assert clock is not None
    chance = random.Random()
    hits = 0
    with opening.open(clock) as counter:
        for number in range(scale(500)):
            batch = range(number * BATCH, number * BATCH + BATCH // 4)
            window = counter.hold()
            counter.add(-1)
            batches.begin("add_many_by_window", batch)
            stopped = stop_inside(batches, chance.uniform(0, 0.01))
            hits += stopped
            clock.advance(60)
            counter.add(-2)
            [record] = counter.closed(1)
            ids = np.frombuffer(counter.ids(window), np.int64)
            assert (record.window_start, record.unique) == (window, len(ids))
            assert counter.hold() == window + 60
            batches.child.resume()
            answer = dict(batches.result())
            assert sum(answer.values()) == len(batch)
            assert answer.get(window, 0) == in_batch(ids, batch)
            now = np.frombuffer(counter.ids(window + 60), np.int64)
            assert answer.get(window + 60, 0) == in_batch(now, batch)
            assert counter.closed(1) == [record]
            assert len(counter.ids(window)) == record.unique
            counter.release(window)
            counter.release(window + 60)
    assert hits, "no batch was stopped"


@pytest.mark.timeout(300)
def test_a_sealer_stopped_anywhere(
    segment: Path, scale: Callable[[int], int], remote: Callable[[Opening], Remote]
) -> None:
    opening = Opening(segment, max_ids=BATCH, wall=NOW)
    sealer = remote(opening)
    chance = random.Random()
    hits = 0
    with opening.open() as counter:
        for number in range(scale(500)):
            window = counter.hold()
            assert counter.add_many(range(number, number + 50_000)) == 50_000
            sealer.begin("seal")
            stopped = stop_inside(sealer, chance.uniform(0, 0.0002))
            hits += stopped
            records = counter.closed(1)
            if records and records[0].window_start == window:
                assert records[0].unique == 50_000
            assert counter.add(-1), "counting goes on, in this window or in the next"
            sealer.child.resume()
            sealed = sealer.result()
            assert sealed.window_start == window
            assert sealed.unique - 50_000 in {0, 1}
            ids = np.frombuffer(counter.ids(window), np.int64)
            assert len(np.unique(ids)) == len(ids) == sealed.unique
            [record] = counter.closed(1)
            assert (record.window_start, record.unique) == (window, sealed.unique)
            counter.release(window)
            counter.seal()
    assert hits, "no sealer was stopped"


def test_a_stopped_holder_keeps_its_window_and_nothing_else(
    segment: Path, remote: Callable[[Opening], Remote]
) -> None:
    opening = Opening(segment, wall=NOW)
    holder = remote(opening)
    window = holder.call("hold")
    assert holder.call("add_many", range(1_000)) == 1_000
    holder.child.stop()
    clock = opening.clock()
    assert clock is not None
    with opening.open(clock) as counter:
        for number in range(40):
            clock.advance(60)
            assert counter.add_many(range(number + 1)) == number + 1
        records = counter.closed()
        assert [record.unique for record in records] == [1_000, *range(1, 40)]
        assert sorted(counter.ids(window)) == list(range(1_000))
        assert counter.stats()["arenas"]["sealed"] == 1
        holder.child.resume()
        assert sorted(holder.call("ids", window)) == list(range(1_000))
        holder.call("release", window)
        counter.maintenance.run()
        assert counter.stats()["arenas"] == {"free": 15, "open": 1, "sealed": 0}
        assert counter.closed() == records
