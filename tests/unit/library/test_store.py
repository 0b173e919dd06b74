"""The counter as a store of many hosts uses it: ids on their way, kept arenas, a shared clock."""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING

import pytest

from verve import CapacityError, Counter, IdError, ManualClock, SettingError
from verve._verve import SHARDS, Callbacks, Group, boot_nanoseconds, shard_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

NOW = 1_800_000_000
SECOND = 1_000_000_000
EDGES = [0, 1, -1, 7, 1 << 40, -(1 << 63), (1 << 63) - 1]


@pytest.fixture
def clock() -> ManualClock:
    """A clock at the start of a minute."""
    return ManualClock(NOW)


@pytest.fixture
def counter(clock: ManualClock) -> Iterator[Counter]:
    """A counter in memory."""
    with Counter(max_ids=10_000, clock=clock) as counter:
        yield counter


def splitmix(id: int) -> int:
    """The finalizer of SplitMix64, written down a second time."""
    mask = (1 << 64) - 1
    word = id & mask
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & mask
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & mask
    return word ^ (word >> 31)


def ids_of(groups: Iterable[Group]) -> list[int]:
    """The ids of groups of one window, each of which must be in its shard."""
    found = []
    for group in groups:
        assert group.members
        for member in group.members:
            [id] = struct.unpack("<q", member)
            assert shard_of(id) == group.shard
            found.append(id)
    return sorted(found)


def by_window(groups: Iterable[Group]) -> dict[int, list[int]]:
    """The ids of groups by their window."""
    windows: dict[int, list[Group]] = {}
    for group in groups:
        windows.setdefault(group.window_start, []).append(group)
    return {window: ids_of(its) for window, its in windows.items()}


# Ids on their way


@pytest.mark.parametrize("id", EDGES)
def test_a_shard_is_the_top_of_a_fixed_mix(id: int) -> None:
    assert SHARDS == 16
    assert shard_of(id) == splitmix(id) >> 60


def test_what_is_no_id_has_no_shard() -> None:
    with pytest.raises(IdError):
        shard_of(1 << 63)
    with pytest.raises(TypeError):
        shard_of("7")  # type: ignore[arg-type]


def test_new_ids_wait_until_they_are_taken(counter: Counter, clock: ManualClock) -> None:
    counter.add(100)
    assert counter.replication.take(10) == []
    counter.replication.queue(10_000)
    counter.add(100)
    counter.add_many(EDGES)
    counter.add_many(EDGES)
    assert counter.http.accept("id=8")[0] == 200
    assert counter.http.accept_batch("json", b"[8, 9, 9]")[0] == 200
    clock.advance(60)
    counter.add(7)
    assert counter.replication.queued() == len(EDGES) + 3
    first = counter.replication.take(4)
    assert by_window(first) == {NOW: sorted(EDGES[:4])}
    rest = by_window(counter.replication.take(1_000))
    assert rest == {NOW: sorted([*EDGES[4:], 8, 9]), NOW + 60: [7]}
    assert (counter.replication.queued(), counter.replication.left_out()) == (0, 0)


def test_ids_past_the_limit_are_left_out(counter: Counter) -> None:
    counter.replication.queue(3)
    counter.add_many(range(5))
    counter.add(5)
    assert (counter.replication.queued(), counter.replication.left_out()) == (3, 3)
    assert by_window(counter.replication.take(9)) == {NOW: [0, 1, 2]}
    counter.replication.queue(0)
    counter.add(6)
    assert (counter.replication.queued(), counter.replication.left_out()) == (0, 3)
    assert counter.count() == 7


def test_new_ids_with_callbacks_wait_too(counter: Counter) -> None:
    counter.replication.queue(9)
    callbacks = Callbacks(counter, mode="listed", allow=["127.0.0.0/8"])
    try:
        endpoint = "http%3A%2F%2F127.0.0.1%3A8009%2Fhook"
        assert callbacks.accept(f"id=1&endpoint={endpoint}")[0] == 200
        response, placed = callbacks.accept_placed(f"id=2&endpoint={endpoint}")
        assert (response[0], placed) == (200, (NOW, 2))
        response, placed = callbacks.accept_placed("id=2&verdict=1")
        assert (dict(response[1])["verve-seen"], placed) == ("duplicate", (NOW, 2))
        response, placed = callbacks.accept_placed("id=3&endpoint=x")
        assert (response[0], placed) == (400, None)
        assert by_window(counter.replication.take(9)) == {NOW: [1, 2]}
    finally:
        callbacks.stop(0)
        callbacks.close()


def test_acknowledged_ids_are_summed_until_the_arena_is_gone(
    counter: Counter, clock: ManualClock
) -> None:
    counter.add_many(range(5))
    assert counter.replication.acknowledged(NOW) == 0
    assert counter.replication.acknowledge(NOW, 3)
    assert counter.replication.acknowledge(NOW, 2)
    assert counter.replication.acknowledged(NOW) == 5 == counter.count()
    assert not counter.replication.acknowledge(NOW - 60, 1)
    assert counter.replication.acknowledged(NOW + 60) is None
    counter.retention.enable()
    clock.advance(60)
    counter.maintenance.run()
    assert counter.replication.acknowledged(NOW) == 5
    assert counter.replication.acknowledged(NOW + 60) == 0
    counter.retention.settle(NOW)
    counter.maintenance.run()
    assert counter.replication.acknowledged(NOW) is None
    assert not counter.replication.acknowledge(NOW, 1)


def test_placed_accepts_say_where_each_id_was_counted(counter: Counter) -> None:
    assert counter.http.accept_placed("id=7") == (counter.http.accept("id=7"), (NOW, 7))
    assert counter.http.accept_placed("id=x") == (counter.http.accept("id=x"), None)
    assert counter.http.accept_placed("id=\udcff")[1] is None
    response, groups = counter.http.accept_batch_placed("text", b"7\n-8\n9\n9")
    assert response[2].startswith(b'{"accepted": 4, "new": 2')
    assert by_window(groups) == {NOW: [-8, 7, 9, 9]}
    assert counter.http.accept_batch_placed("text", b"x") == (
        counter.http.accept_batch("text", b"x"),
        [],
    )
    with pytest.raises(ValueError, match="no such kind"):
        counter.http.accept_batch_placed("csv", b"")


def test_a_store_that_does_not_confirm_is_a_refusal_with_a_name(counter: Counter) -> None:
    counter.http.reject("store unconfirmed")
    assert counter.stats()["rejected"]["store unconfirmed"] == 1


# Kept arenas


def test_arenas_are_kept_until_they_are_settled(counter: Counter, clock: ManualClock) -> None:
    assert (counter.retention.settled(), counter.retention.kept()) == (0, [])
    clock.advance(60)
    counter.maintenance.run()
    counter.retention.enable()
    assert counter.retention.settled() == NOW
    for number in range(1, 16):
        counter.add(number)
        clock.advance(60)
        counter.maintenance.run()
    kept = [NOW + number * 60 for number in range(1, 16)]
    assert counter.retention.kept() == kept
    assert [list(counter.ids(window)) for window in kept] == [[n] for n in range(1, 16)]
    counter.add(16)
    clock.advance(60)
    with pytest.raises(CapacityError, match="a store that is away") as caught:
        counter.add(17)
    assert caught.value.reason == "arena"
    counter.retention.settle(kept[1])
    assert counter.retention.settled() == kept[1]
    assert counter.add(17)
    assert counter.retention.kept() == [*kept[2:], NOW + 960]
    counter.retention.disable()
    counter.maintenance.run()
    assert (counter.retention.settled(), counter.retention.kept()) == (0, [])


@pytest.mark.parametrize("most", [1, 100, 1 << 40])
def test_a_kept_window_is_read_in_pieces(counter: Counter, clock: ManualClock, most: int) -> None:
    counter.retention.enable()
    counter.add_many(range(-5_000, 5_000))
    clock.advance(60)
    counter.maintenance.run()
    found, position, calls = [], 0, 0
    while True:
        piece = counter.retention.read_ids(NOW, position, most)
        assert counter.retention.read_ids(NOW, position, most) == piece
        assert {group.window_start for group in piece.groups} <= {NOW}
        found += ids_of(piece.groups)
        calls += 1
        if piece.following is None:
            break
        position = piece.following
    assert sorted(found) == sorted(counter.ids(NOW)) == list(range(-5_000, 5_000))
    assert (calls == 1) == (most > 10_000)
    with pytest.raises(SettingError, match="not kept"):
        counter.retention.read_ids(NOW - 60, 0, most)
    counter.retention.settle(NOW)
    counter.maintenance.run()
    with pytest.raises(SettingError, match="not kept"):
        counter.retention.read_ids(NOW, 0, most)


# A shared clock


def test_a_clock_follows_its_reference_by_the_rules(clock: ManualClock) -> None:
    with Counter(max_ids=100, clock=clock) as counter:
        before = counter.reference_clock.was_followed
        counter.reference_clock.follow()
        clock.step(3_600)
        counter.maintenance.run()
        assert counter.now() == NOW
        assert counter.reference_clock.boot() == clock.boot()
        counter.reference_clock.steer((NOW + 4) * SECOND - clock.boot())
        assert (before, counter.reference_clock.was_followed) == (False, True)
        assert counter.now() == NOW + 4
        ahead = NOW + 100
        for _ in range(10):
            counter.reference_clock.steer(ahead * SECOND - clock.boot())
            assert counter.stats()["clock_distrusted"]
            assert counter.now() < ahead
            clock.advance(1)
            ahead += 1
        counter.reference_clock.steer(ahead * SECOND - clock.boot())
        assert not counter.stats()["clock_distrusted"]
        assert counter.now() == ahead
        counter.reference_clock.steer(NOW * SECOND - clock.boot())
        assert counter.stats()["clock_distrusted"]
        assert counter.now() == ahead


def test_a_segment_is_made_by_the_reference(tmp_path: Path, clock: ManualClock) -> None:
    path = tmp_path / "segment"
    offset = (NOW + 600) * SECOND - clock.boot()
    with Counter(path, max_ids=100, clock=clock, clock_offset=offset) as counter:
        assert counter.reference_clock.was_followed
        assert counter.add_in_window(1) == (True, NOW + 600)
    with Counter(path, max_ids=100, clock=clock, clock_offset=offset + 60 * SECOND) as counter:
        assert counter.reference_clock.was_followed
        assert counter.add_in_window(1) == (False, NOW + 600)
    with pytest.raises(SettingError, match="reference clock"):
        Counter(tmp_path / "other", max_ids=100, clock=clock, clock_offset=-(1 << 62))


def test_a_seed_determines_the_random_numbers_of_a_new_segment(tmp_path: Path) -> None:
    def made(seed: int | None) -> tuple[str, list[int]]:
        with Counter(max_ids=1_000, seed=seed) as counter:
            counter.add_many(range(500))
            # Ids come in the order of their slots, which the key of the table determines.
            return counter.stats()["identity"], list(counter.ids())

    identity, order = made(7)
    assert made(7) == (identity, order)
    for seed in (8, (1 << 64) - 1, None, None):
        other, elsewhere = made(seed)
        assert other != identity
        assert elsewhere != order
        assert sorted(elsewhere) == sorted(order)
    # An existing segment keeps its own.
    with (
        Counter(tmp_path / "segment", max_ids=100, seed=7) as one,
        Counter(tmp_path / "segment", max_ids=100, seed=8) as two,
    ):
        assert one.stats()["identity"] == two.stats()["identity"] == identity
        assert one.add(1)
        assert not two.add(1)


def test_boot_time_is_that_of_the_system() -> None:
    before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    with Counter(max_ids=100) as counter:
        assert before <= boot_nanoseconds() <= counter.reference_clock.boot()
        assert counter.reference_clock.boot() <= time.clock_gettime_ns(time.CLOCK_BOOTTIME)


# Counts of the cluster


def test_counts_of_the_cluster_rise_until_they_are_final(counter: Counter) -> None:
    assert counter.replication.cluster_count(NOW) is None
    counter.replication.note_cluster_count(NOW, 7)
    counter.replication.note_cluster_count(NOW, 5)
    assert counter.replication.cluster_count(NOW) == 7
    counter.replication.note_cluster_count(NOW, 6, final=True)
    counter.replication.note_cluster_count(NOW, 9)
    assert counter.replication.cluster_count(NOW) == 6
    counter.replication.note_cluster_count(NOW, 8, final=True)
    assert counter.replication.cluster_count(NOW) == 8
    counter.replication.note_cluster_count(NOW + 16 * 60, 1)
    assert counter.replication.cluster_count(NOW) is None
    assert counter.replication.cluster_count(NOW + 960) == 1
    counter.replication.note_cluster_count(NOW, 99, final=True)
    assert counter.replication.cluster_count(NOW) is None
