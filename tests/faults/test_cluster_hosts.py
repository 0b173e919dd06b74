"""Hosts that count as one, each with a leader's loop, over a real Redis."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

import pytest

from tests.fleet import Peer, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.redis import RedisServer as Server


class Join(Protocol):
    """Starts a host that ends with the test."""

    def __call__(self, name: str, *, start: bool = True, **options: object) -> Peer:
        """`options` are those of `Peer`."""


@pytest.fixture
def join(server: Server, cluster: str, tmp_path: Path) -> Iterator[Join]:
    peers: list[Peer] = []

    def begin(name: str, *, start: bool = True, **options: object) -> Peer:
        peer = Peer(tmp_path / name, server.port, cluster, **options)  # type: ignore[arg-type]
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
    wait_until(lambda: a.counter.published() >= window)
    for window in sorted(a.sent)[1:]:
        union = a.sent[window] | b.sent.get(window, set())
        record = a.complete_record(window)
        assert record.unique == len(union)
        assert b.complete_record(window).unique == record.unique
        assert record.host_unique == len(a.sent[window])
    wait_until(lambda: a.counter.settled() >= window, of=a)
    print(a.told.events, b.told.events, a.feed.windows)


def test_nothing_to_count(join: Join) -> None:
    a = join("a")
    wait_until(lambda: len(a.feed.windows) >= 3)
    assert [w.unique for w in a.feed.windows] == [0] * len(a.feed.windows)
    assert not any(w.degraded for w in a.feed.windows)
    time.sleep(0.5)
