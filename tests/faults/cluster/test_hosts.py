"""Hosts that count as one, each with a leader's loop, over a real Redis."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from tests.support.cluster.in_process import LocalHost, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from tests.support.redis.server import RedisServer


def revised(windows: Iterable[Any]) -> list[Any]:
    """The revisions of the cluster. A host that waits for long publishes its own count first."""
    return [window for window in windows if window.revision > 0]


class Join(Protocol):
    """Starts a host that ends with the test."""

    def __call__(self, name: str, *, start: bool = True, **options: object) -> LocalHost:
        """`options` are those of `LocalHost`."""


@pytest.fixture
def join(server: RedisServer, cluster: str, tmp_path: Path) -> Iterator[Join]:
    peers: list[LocalHost] = []

    def begin(name: str, *, start: bool = True, **options: object) -> LocalHost:
        peer = LocalHost(tmp_path / name, server.port, cluster, **options)  # type: ignore[arg-type]
        peers.append(peer)
        return peer.start().wait_until_joined() if start else peer

    yield begin
    for peer in peers:
        peer.close()


def test_two_hosts_count_as_one(join: Join) -> None:
    a, b = join("a"), join("b")
    for number in range(4):
        first = a.counter.current().window_start
        window = a.add(range(number, 500))
        b.add(range(250, 1_000))
        wait_until(lambda: a.counter.current().window_start > first)  # noqa: B023 - at once
    wait_until(lambda: a.counter.ring.newest() >= window)
    for window in sorted(a.sent)[1:]:
        union = a.sent[window] | b.sent.get(window, set())
        record = a.complete_record(window)
        assert record.unique == len(union)
        assert b.complete_record(window).unique == record.unique
        assert record.host_unique == len(a.sent[window])
    wait_until(lambda: a.counter.retention.settled() >= window, of=a)


def test_nothing_to_count(join: Join) -> None:
    a = join("a")
    wait_until(lambda: len(revised(a.feed.windows)) >= 3)
    told = list(a.feed.windows)
    assert {w.unique for w in told} == {0}
    assert not any(w.degraded for w in revised(told))
    time.sleep(0.5)


def test_ids_that_no_worker_sent_are_sent_by_the_leader(join: Join) -> None:
    a, b = join("a", sends=False), join("b")
    window = a.add(range(1_000))
    b.add(range(500, 1_500))
    assert a.complete_record(window).unique == len(a.sent[window] | b.sent.get(window, set()))
    assert "window.resent" in a.told.names()


def test_a_late_host_degrades_a_window_and_then_revises_it(join: Join) -> None:
    a, b = join("a"), join("b", sends=False)
    window = a.add(range(100))
    b.sent.setdefault(window, set())
    parts = b.counter.add_many_by_window(range(50, 150))
    while len(parts) != 1:
        parts = b.counter.add_many_by_window(range(50, 150))
    [(b_window, _)] = parts
    b.fence.lost = True  # its leader is gone, the host is not
    first = wait_until(lambda: revised(a.records(b_window)), of=a)[0]
    assert (first.revision, first.degraded) == (1, True)
    b.fence = type(b.fence)(2)
    b.stop()
    b.start()
    final = a.complete_record(b_window)
    assert final.revision == 2
    assert final.unique == len(set(range(50, 150)) | a.sent.get(b_window, set()))
    assert {"window.degraded"} <= set(a.told.names())


def test_a_host_counts_on_while_redis_is_away_and_its_ids_come_from_disk(
    own_server: RedisServer, cluster: str, tmp_path: Path
) -> None:
    a = LocalHost(tmp_path / "a", own_server.port, cluster).start().wait_until_joined()
    try:
        before = a.add(range(10))
        assert a.complete_record(before).unique == 10
        own_server.stop()
        windows: list[int] = []
        while len(windows) < 12:
            window = a.add(range(len(windows) + 1))
            wait_until(lambda: a.counter.current().window_start > window)  # noqa: B023 - at once
            windows.append(window)
        wait_until(lambda: len(a.counter.retention.kept()) <= 8, of=a)
        assert {"redis.away", "spill.written"} <= set(a.told.names())
        # Its own count, as that of this host only.
        provisional = wait_until(lambda: a.records(windows[0]), of=a)
        assert [(w.unique, w.revision, w.degraded) for w in provisional] == [(1, 0, True)]
        own_server.start()
        for number, window in enumerate(windows):
            record = a.complete_record(window)
            assert (record.unique, record.revision) == (number + 1, 1)
            assert record.delivers
        assert {"redis.back", "spill.used"} <= set(a.told.names())
        spills = a.settings.state_dir / "spill"
        wait_until(lambda: not list(spills.iterdir()), of=a)
        wait_until(lambda: a.counter.retention.settled() >= windows[-1], of=a)
    finally:
        a.close()


def test_spilled_ids_of_an_earlier_segment_are_counted(
    own_server: RedisServer, cluster: str, tmp_path: Path
) -> None:
    a = LocalHost(tmp_path / "a", own_server.port, cluster).start().wait_until_joined()
    try:
        own_server.stop()
        window = a.add(range(77))
        spilled = f"{window}-*.ids"
        wait_until(lambda: list((a.settings.state_dir / "spill").glob(spilled)), of=a)
        identity = a.identity
    finally:
        a.close()
    # As after a restart of the machine: memory is lost, files are not.
    a.settings.segment.unlink()
    own_server.start()
    again = LocalHost(tmp_path / "a", own_server.port, cluster).start().wait_until_joined()
    try:
        assert again.identity != identity
        record = again.complete_record(window)
        assert record.unique == len(a.sent[window])
        assert record.delivers
        wait_until(lambda: not list((a.settings.state_dir / "spill").glob("*.ids")), of=again)
    finally:
        again.close()


def test_a_host_that_leaves_with_all_sent_degrades_nothing(join: Join) -> None:
    a, b = join("a"), join("b")
    start = b.counter.current().window_start
    wait_until(lambda: b.counter.current().window_start > start + 1)
    window = b.add(range(40))
    wait_until(lambda: b.counter.replication.acknowledged(window) == 40)
    b.stop(leaves=True)
    record = wait_until(lambda: revised(a.records(window)), of=a)[0]
    assert not record.degraded
    assert record.unique == 40
    wait_until(lambda: "host.left" in a.told.names(), of=a)
    later = a.add(range(5))
    assert wait_until(lambda: revised(a.records(later)), of=a)[0].degraded is False


def test_a_host_of_another_protocol_keeps_others_out(
    join: Join, server: RedisServer, cluster: str
) -> None:
    key = f"verve:{{{cluster}:1}}:hosts"
    with server.ask() as connection:
        connection.hset(key, "f" * 16, f"{int(time.time() * 1_000)} 99 what comes later")
    a = join("a", start=False).start()
    wait_until(lambda: "cluster.refused" in a.told.names())
    assert a.coordinator is not None
    work = a.coordinator.work
    assert work is not None
    assert "another protocol" in str(work.heartbeat.refusal)
    assert not work.registrar.has_joined
    with server.ask() as connection:
        assert connection.hlen(key) == 1
        connection.hdel(key, "f" * 16)
    a.wait_until_joined()
    assert work.heartbeat.refusal is None


def test_the_running_count_is_that_of_all_hosts(join: Join) -> None:
    a, b = join("a", window=60), join("b", window=60)
    window = a.add(range(100))
    b.counter.add_many(range(50, 200))
    if b.counter.current().window_start == window:
        wait_until(lambda: a.counter.replication.cluster_count(window) == 200)
        wait_until(lambda: b.counter.replication.cluster_count(window) == 200)


@pytest.mark.alone(reason="judges how long a stop takes")
def test_a_redis_that_hangs_holds_up_neither_accepts_nor_the_end(
    own_server: RedisServer, cluster: str, tmp_path: Path
) -> None:
    a = LocalHost(tmp_path / "a", own_server.port, cluster).start().wait_until_joined()
    try:
        own_server.pause()
        window = a.add(range(10))
        slow = 0
        until = time.monotonic() + 3
        while time.monotonic() < until:
            began = time.perf_counter()
            a.counter.add(7)
            slow += time.perf_counter() - began >= 0.5
            time.sleep(0.001)
        # The machine itself may stand still for a moment.
        assert slow <= 1
        wait_until(lambda: a.records(window), of=a)
        wait_until(lambda: "redis.away" in a.told.names(), of=a)
        began = time.monotonic()
        a.stop()
        assert time.monotonic() - began < 3
    finally:
        a.close()
