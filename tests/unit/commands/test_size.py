"""`verve size`, held against real segments, ledgers, spills and a real Redis."""

from __future__ import annotations

import json
import random
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner

from verve import Counter, ManualClock, config
from verve._verve import shard_of
from verve.cluster.spill import spill_file
from verve.commands import size
from verve.commands.cli import main
from verve.fields import misfits
from verve.ledger.ledger import Ledger
from verve.windows.window import Window

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.support.redis.server import RedisServer
    from verve.config import Settings

IDS = 400_000


def settings(**flags: str) -> Settings:
    return config.load({"workers": "2", **flags}, {})


def stored(path: Path) -> int:
    """Bytes that a file takes, without its holes."""
    return path.stat().st_blocks * 512


def test_a_real_segment_has_the_length_and_takes_the_memory(tmp_path: Path) -> None:
    found = size.sizes(settings(), IDS, 1)
    clock = ManualClock(1_800_000_000)
    path = tmp_path / "segment"
    with Counter(path, max_ids=found.max_ids_per_window, clock=clock) as counter:
        for window in range(4):
            counter.add_many(np.arange(IDS, dtype=np.int64) + window * IDS)
            counter.maintenance.run()
            clock.advance(60)
        assert path.stat().st_size == found.segment_bytes
        in_segment = found.memory_bytes - 3 * size.WORKER_BYTES
        # The first window grew from an empty table, and took more.
        assert 0.7 * in_segment < stored(path) < 1.3 * in_segment
        assert stored(path) < found.shm_bytes


def test_a_window_of_twice_the_ids_fits(tmp_path: Path) -> None:
    found = size.sizes(settings(), IDS, 1)
    path = tmp_path / "segment"
    with Counter(path, max_ids=found.max_ids_per_window) as counter:
        counter.add_many(np.arange(2 * IDS, dtype=np.int64))
        assert stored(path) < found.shm_bytes


def test_a_real_ledger_has_the_size(tmp_path: Path) -> None:
    windows = 4_000
    path = tmp_path / "ledger"
    with closing(Ledger(path, 10 * windows * 60, ("kafka",))) as ledger:
        for first in range(0, windows, 500):
            ledger.record(
                [_window(number) for number in range(first, first + 500)], sinks=("log", "kafka")
            )
    found = size.sizes(settings(keep=f"{windows * 60}"), IDS, 1).ledger_bytes
    assert 0.4 * found < path.stat().st_size < 1.1 * found


def _window(number: int) -> Window:
    start = 1_800_000_000 + 60 * number
    return Window(
        window_start=start,
        window_seconds=60,
        unique=IDS,
        requests=7 * IDS,
        duplicates=6 * IDS,
        host_unique=IDS,
    )


def test_a_real_spill_has_the_size(tmp_path: Path) -> None:
    class Given:
        count = 50_000

        def read(self, position: int) -> tuple[Mapping[int, Sequence[bytes]], int | None]:
            end = min(position + 8_192, self.count)
            groups: dict[int, list[bytes]] = {}
            for id in range(position, end):
                groups.setdefault(id % 16, []).append(id.to_bytes(8, "little"))
            return groups, end if end < self.count else None

    path = tmp_path / "spill"
    spill_file.write(path, spill_file.SpillHead(60, 60, Given.count, "a" * 16), Given())
    found = size.sizes(settings(), Given.count, 2)
    assert found.spill_window_bytes is not None
    assert 0.95 * found.spill_window_bytes < path.stat().st_size <= found.spill_window_bytes
    assert found.spill_windows == (1 << 30) // found.spill_window_bytes


def test_a_real_redis_takes_the_memory(own_server: RedisServer) -> None:
    before = int(own_server.info("used_memory"))
    shards: dict[int, list[bytes]] = {}
    for id in random.sample(range(2**62), IDS):
        shards.setdefault(shard_of(id), []).append(id.to_bytes(8, "little"))
    with closing(own_server.ask()) as client:
        for shard, members in shards.items():
            for first in range(0, len(members), 1_000):
                client.sadd(f"shard:{shard}", *members[first : first + 1_000])
    found = size.sizes(settings(redis_keep="5m"), IDS, 2).redis_bytes
    assert found is not None
    taken = int(own_server.info("used_memory")) - before
    # The open window and five that are kept. A set grows by doubling: a third more or less.
    assert 0.65 * found < 6 * taken < 1.35 * found


def test_the_settings_are_those_of_the_table() -> None:
    found = size.sizes(settings(redis_keep="1h"), 1_000_000, 3)
    known = {row.variable for row in config.TABLE.values()}
    flags = dict(line.split("=") for line in found.settings)
    assert set(flags) <= known
    assert config.load({}, flags).redis_keep == 3600
    assert config.load({}, flags).max_ids_per_window == 2_000_000


def test_hosts_and_windows_change_what_they_should() -> None:
    alone = size.sizes(settings(), 60_000, 1)
    assert (alone.redis_bytes, alone.spill_window_bytes, alone.spill_windows) == (None,) * 3
    shorter = size.sizes(settings(window="30s"), 60_000, 1)
    assert shorter.ids_per_window == 30_000
    many = size.sizes(settings(redis_keep="10m"), 60_000, 5)
    assert many.redis_bytes == 60_000 * 11 * size.REDIS_BYTES_PER_ID
    assert many.shm_bytes >= alone.shm_bytes


@pytest.mark.parametrize("hosts", ["1", "3"])
def test_the_command_prints_text_and_json(hosts: str) -> None:
    given = ["size", "--ids-per-minute", "5000000", "--hosts", hosts, "--workers", "2"]
    text = CliRunner().invoke(main, given)
    assert text.exit_code == 0, text.output
    assert "  VERVE_MAX_IDS_PER_WINDOW=10000000\n" in text.stdout
    assert ("Redis" in text.stdout) == (hosts == "3")
    done = CliRunner().invoke(main, [*given, "--json"])
    found = json.loads(done.stdout)
    assert misfits(found) == []
    assert found["max_ids_per_window"] == 10_000_000


@pytest.mark.parametrize("given", [["0"], ["-1"], ["x"], ["3000000000"], ["5", "--hosts", "0"]])
def test_a_size_that_cannot_be_is_refused(given: list[str]) -> None:
    done = CliRunner().invoke(main, ["size", "--ids-per-minute", *given])
    assert done.exit_code == 2
