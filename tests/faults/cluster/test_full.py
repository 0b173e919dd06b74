"""No room for windows that wait for Redis: acknowledged ids stay, accepts are rejected."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.support.cluster.in_process import run
from tests.support.cluster.stepped_host import SECONDS, SteppedHost
from tests.support.redis.server import RedisServer
from verve import CapacityError
from verve._verve import ARENAS

if TYPE_CHECKING:
    from pathlib import Path


def counted(still: SteppedHost) -> set[int]:
    """The windows that have a complete record."""
    return {window.window_start for window in still.feed.windows if not window.degraded}


def test_arenas_stay_when_the_spill_is_full(cluster: str, tmp_path: Path) -> None:
    server = RedisServer(tmp_path)

    async def main() -> None:
        start = int(time.time()) // SECONDS * SECONDS - 20 * SECONDS
        still = SteppedHost(tmp_path / "a", server, cluster, start, grace=1, spill_max="3KiB")
        try:
            await still.begin()
            still.clock.advance(30)
            sent: dict[int, int] = {}

            async def count_on() -> None:
                while len(sent) < 2 * ARENAS:
                    still.counter.add_many(range(100 + len(sent)))
                    sent[still.counter.current().window_start] = 100 + len(sent)
                    still.clock.advance(SECONDS)
                    await still.turn()
                    await still.work.windows.spill()

            with pytest.raises(CapacityError) as refused:
                await count_on()
            assert refused.value.reason == "arena"
            assert still.counter.http.accept("id=7")[0] == 503
            # Some went to disk before it was full.
            assert still.told.names().count("spill.written") >= len(sent) - ARENAS > 0
            assert still.told.names().count("spill.full") == 1
            # Redis comes back: there is room again, and all that was acknowledged is counted. The
            # last window ends when the next one has an arena.
            server.start()
            await still.turn_until(lambda: counted(still) >= set(sorted(sent)[:-1]), patience=30)
            own = still.work.windows.own
            await still.turn_until(lambda: all(task.resolved_at for task in own().values()))
            for task in own().values():
                task.resolved_at = (task.resolved_at or 0) - SECONDS
            await still.turn_until(lambda: still.counter.http.accept("id=7")[0] == 200)
            await still.turn_until(lambda: counted(still) >= set(sent))
            for window, count in sent.items():
                assert [w.unique for w in still.records(window)][-1] == count
            directory = still.work.spills.directory
            await still.turn_until(lambda: not list(directory.iterdir()))
        finally:
            await still.end()

    try:
        run(main(), timeout=60)
    finally:
        server.stop()
