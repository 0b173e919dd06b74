"""What an earlier build made, and this one takes up: a segment, a ledger and a spill.

The package of commit 82cf54c made the files in `earlier_build/` and was killed. Its clock stood in
the fifth minute after `NOW`. It had counted the ids of `IDS`, the first seven of each window twice,
and rejected one request in each window that has ids. The windows are kept for Redis; the second is
in the spill. The ledger has the first three: the cluster's record, a provisional count, and a
window without ids.
"""

from __future__ import annotations

import lzma
from contextlib import closing
from pathlib import Path

import pytest

from tests.support import rig
from verve import Counter, ManualClock, segment_identity
from verve.cluster.cluster_window import ClusterWindow
from verve.cluster.spill.spill_file import SpilledIds
from verve.ledger import ledger
from verve.publishing.lease import Cursor

MADE = Path(__file__).parent / "earlier_build"
IDENTITY = "14480cff8b9d8d13"
NOW = 1_800_000_000
STARTS = [NOW, NOW + 60, NOW + 120, NOW + 180]
EDGES = [0, -1, (1 << 63) - 1, -(1 << 63)]
IDS = [[*EDGES, *range(1, 101)], [*range(-850, 0)], [], [*range(1_000, 1_010)]]
OPEN = [5, -5, (1 << 63) - 1, 77]


def unpacked(name: str, to: Path) -> Path:
    """The file `name` at `to`."""
    with lzma.open(MADE / f"{name}.xz") as packed, to.open("wb") as file:
        while chunk := packed.read(4_096):
            # The segment has holes.
            file.seek(len(chunk), 1) if not any(chunk) else file.write(chunk)
        file.truncate()
    to.chmod(0o600)
    return to


@pytest.fixture
def segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The segment, whose state directory is named by a relative path."""
    monkeypatch.chdir(tmp_path)
    return unpacked("segment", tmp_path / "segment")


def attached(segment: Path) -> Counter:
    """A counter on the segment, a moment after the earlier build was killed."""
    clock = ManualClock(NOW + 242.0)
    return Counter(segment, max_ids=9, cluster="test", state_directory="state", clock=clock)


def test_a_segment_goes_on(segment: Path) -> None:
    assert segment_identity(segment)["identity"] == IDENTITY
    with attached(segment) as counter:
        assert counter.max_ids == 200
        assert [counter.add_in_window(id) for id in [*OPEN, 6]] == [
            *[(False, NOW + 240)] * 4,
            (True, NOW + 240),
        ]
        closed = counter.closed()
        assert [one.window_start for one in closed] == STARTS
        assert [one.unique for one in closed] == [len(ids) for ids in IDS]
        assert [one.duplicates for one in closed] == [7, 7, 0, 7]
        assert [one.rejected for one in closed] == [1, 1, 0, 1]
        assert counter.ring.newest() == STARTS[-1]
        assert counter.ring.cursor(Cursor.LOG) == STARTS[1]
        assert counter.replication.cluster_count(NOW) == 500
        assert counter.lease.acquire() == 2


def test_ids_that_are_kept_for_redis_are_read(segment: Path) -> None:
    with attached(segment) as counter:
        assert counter.retention.kept() == STARTS
        for start, ids in zip(STARTS, IDS, strict=True):
            assert sorted(counter.ids(start)) == sorted(ids)
        counter.retention.settle(STARTS[-1])
        counter.maintenance.run()
        assert counter.retention.kept() == []


def test_a_ledger_goes_on(tmp_path: Path) -> None:
    made = rig.settings(tmp_path, sinks="log,kafka", kafka_brokers="127.0.0.1:1")
    made.state_dir.mkdir()
    path = unpacked("ledger", ledger.path_of(made))
    rows = ledger.rows(path)[::-1]
    assert [(w.window_start, w.unique, w.revision) for w in rows] == [
        *[(NOW, 500, 2), (NOW + 60, 850, 0), (NOW + 120, 0, 1)]
    ]
    assert [(w.requests, w.host_unique, w.degraded) for w in rows] == [
        *[(111, 104, False), (857, 850, True), (0, None, False)]
    ]
    with closing(ledger.open_ledger(made)) as opened:
        assert [w.window_start for w in opened.undelivered("log")] == [NOW + 60, NOW + 120]
        assert [w.window_start for w in opened.undelivered("kafka")] == [NOW, NOW + 120]
        final = ClusterWindow.of(rows[1], unique=900, revision=1, degraded=False, delivers=True)
        opened.record([final], sinks=("log", "kafka"))
        assert opened.undelivered("kafka")[1].unique == 900
    assert ledger.rows(path)[1].unique == 900


def test_a_spill_is_read(tmp_path: Path) -> None:
    spilled = SpilledIds.open(unpacked("spill", tmp_path / "spill.ids"))
    assert (spilled.head.identity, spilled.head.window_start) == (IDENTITY, NOW + 60)
    found: list[int] = []
    position: int | None = 0
    while position is not None:
        groups, position = spilled.read(position)
        found += [
            int.from_bytes(id, "little", signed=True) for ids in groups.values() for id in ids
        ]
    assert sorted(found) == IDS[1]
