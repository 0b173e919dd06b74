"""Changed answers and values of Redis harm nothing else; `make fuzz` changes more of them."""

from __future__ import annotations

import random
import time
from collections import OrderedDict, defaultdict
from typing import TYPE_CHECKING

import pytest

from tests.faults.cluster.fuzz import replies, stored
from tests.faults.cluster.fuzz.mutation import damaged
from tests.support.cluster.in_process import LocalHost, run, wait_until
from tests.support.redis.proxy import FaultProxy
from verve.cluster.redis_state.hosts import HostTable
from verve.log import skipped
from verve.stores import client

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.redis.server import RedisServer

GARBLED = 400
"""Changed answers that a coordinator gets."""

VALUES_THAT_FAILED = (176, 2_750, 11_725, 32, 1_263)
"""Each fails without its fix: a completion that is not above `published_changes` (two seeds), a
difference that asks for no revision, a token and a delivery far ahead of the time."""
ANSWERS_THAT_FAILED = range(1, 7)


@pytest.fixture(autouse=True)
def _reports_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that other tests find their skipped entries reported."""
    monkeypatch.setattr(skipped, "_reported", OrderedDict())


def seeds(scale: Callable[[int], int], most: int) -> range:
    """New ones in each run."""
    first = time.time_ns() % (1 << 40)
    return range(first, first + scale(most))


def test_changed_answers(scale: Callable[[int], int]) -> None:
    async def main() -> None:
        for seed in seeds(scale, 200):
            assert await replies.fuzz(seed) > 0

    run(main(), 120)


def test_changed_values(scale: Callable[[int], int]) -> None:
    async def main() -> None:
        for seed in seeds(scale, 4_000):
            await stored.fuzz(seed)

    run(main(), 120)


def test_changes_that_showed_a_fault() -> None:
    async def main() -> None:
        for seed in VALUES_THAT_FAILED:
            await stored.fuzz(seed)
        for seed in ANSWERS_THAT_FAILED:
            assert await replies.fuzz(seed) > 0

    run(main(), 120)


def test_a_result_that_redis_cannot_give_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unchecked(self: HostTable, *hosts: str) -> int:
        found: int = await self._client.run("return redis.call('HDEL', KEYS[1], 'x')", [], hosts)
        return found + 0

    monkeypatch.setattr(HostTable, "forget", unchecked)

    async def main() -> None:
        for seed in range(20):
            await replies.fuzz(seed)

    with pytest.raises(AssertionError, match=r"(leave|forget) of"):
        run(main())


@pytest.mark.timeout(120)
def test_a_coordinator_outlives_garbled_bytes(
    server: RedisServer,
    cluster: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scale: Callable[[int], int],
) -> None:
    # An answer that never ends costs a call its deadline.
    monkeypatch.setattr(client, "CALL_SECONDS", 0.1)
    draw = random.Random(time.time_ns())
    changed: list[bytes] = []

    def garbled(data: bytes) -> bytes:
        if draw.random() < 0.7:
            return data
        changed.append(damaged(data, draw))
        return changed[-1]

    with FaultProxy(server.port) as proxy:
        host = LocalHost(tmp_path, proxy.port, cluster, sends=False).start().wait_until_joined()
        proxy.change = garbled
        while (seen := len(changed)) < scale(GARBLED):
            host.add([seen])
            wait_until(lambda: len(changed) > seen, of=host)
        proxy.change = bytes
        start = host.add(range(100))
        assert host.complete_record(start).unique == len(host.sent[start])
        counts: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for window in host.feed.windows:
            if window.revision > 0:
                counts[window.window_start].append((window.revision, window.unique))
        host.close()
    for revisions in counts.values():
        assert revisions == sorted(revisions), "a count is lowered"
    assert "leader.stumbled" not in host.told.names(), host.told.events
