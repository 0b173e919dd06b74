"""No room for windows that wait for Redis: what was acknowledged stays, accepts are refused."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.fleet import Server, run
from tests.still import SECONDS, Still
from verve import CapacityError

if TYPE_CHECKING:
    from pathlib import Path

ARENAS = 16


def test_arenas_stay_when_the_spill_is_full(cluster: str, tmp_path: Path) -> None:
    server = Server(tmp_path)

    async def main() -> None:
        start = int(time.time()) // SECONDS * SECONDS - 20 * SECONDS
        still = Still(tmp_path / "a", server, cluster, start, grace=1, spill_max="3KiB")
        try:
            await still.begin()
            still.clock.advance(30)
            sent: dict[int, int] = {}
            with pytest.raises(CapacityError) as refused:
                for number in range(2 * ARENAS):
                    still.counter.add_many(range(100 + number))
                    sent[still.counter.current().window_start] = 100 + number
                    still.clock.advance(SECONDS)
                    await still.turn()
                    await still.turns.spill()
            assert refused.value.reason == "arena"
            assert still.counter.accept("id=7")[0] == 503
            # Two went to disk before it was full.
            assert len(sent) == ARENAS + 2
            assert still.told.names().count("spill.written") == 2
            assert still.told.names().count("spill.full") == 1
            # Redis comes back: all that was acknowledged is counted, and there is room again.
            server.start()
            await still.turn_until(
                lambda: {w.window_start for w in still.feed.windows if not w.degraded} >= set(sent),
                patience=30,
            )
            for window, count in sent.items():
                assert [w.unique for w in still.records(window)][-1] == count
            for life in still.turns.windows._lives.values():
                assert life._resolved_at is not None
                life._resolved_at -= SECONDS
            await still.turn_until(lambda: still.counter.accept("id=7")[0] == 200)
            assert not list(still.parts.spills.directory.iterdir())
        finally:
            await still.end()

    try:
        run(main(), timeout=60)
    finally:
        server.stop()
