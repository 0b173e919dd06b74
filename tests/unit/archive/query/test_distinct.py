from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import verve
from tests.support.archive import places as archive
from verve.archive.errors import ArchiveError, DamagedFileError, GoneError
from verve.archive.format import id_file_writer
from verve.archive.format.layout import FileName, folder_of
from verve.archive.format.levels import Level
from verve.archive.query import counting
from verve.archive.query.counting import Limits, count
from verve.archive.query.distinct import distinct
from verve.archive.query.pieces import Piece, Ranges
from verve.archive.query.span import By, DeadlineError, Span, SpanError, buckets
from verve.archive.store import ArchiveStore, open_store
from verve.archive.upkeep.expiry import Keep
from verve.archive.upkeep.roll_up import Host
from verve.archive.upkeep.upkeep import Upkeep

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

HOUR = 1_764_504_000  # 2025-11-30T12:00:00Z
MINUTES = Span(HOUR, HOUR + 180)


@pytest.fixture
def store(tmp_path: Path) -> ArchiveStore:
    return open_store(tmp_path / "ids")


def three(store: ArchiveStore, scratch: Path) -> list[FileName]:
    """Three minutes of 1,000 ids, each with half of those before it."""
    return [
        archive.put_window(store, scratch, HOUR + 60 * n, range(500 * n, 500 * n + 1000))
        for n in range(3)
    ]


def test_repeats_count_once(store: ArchiveStore, tmp_path: Path) -> None:
    three(store, tmp_path)
    found = distinct(store, "", MINUTES)
    assert (found.distinct, found.complete, found.rows, found.files) == (2000, True, 3000, 3)
    assert found.hosts == ("one",)
    assert not found.hosts_known


def test_the_library_takes_times_and_tells_its_progress(tmp_path: Path) -> None:
    three(open_store(tmp_path / "ids"), tmp_path)
    told: list[tuple[int, int]] = []
    since = datetime.fromtimestamp(HOUR, UTC)
    found = verve.distinct(
        tmp_path / "ids",
        since.replace(tzinfo=None),
        since + timedelta(minutes=3),
        by="minute",
        progress=lambda *rows: told.append(rows),
    )
    assert [one.distinct for one in found.buckets] == [1000] * 3
    assert told[-1] == (3000, 3000)
    with pytest.raises(ValueError, match="divided"):
        _ = found.distinct
    with pytest.raises(SpanError, match="has not ended"):
        verve.distinct(tmp_path, HOUR, 2**33)
    with pytest.raises(ValueError, match="whole seconds"):
        verve.distinct(tmp_path, since + timedelta(microseconds=1), HOUR + 60)


def test_a_span_of_parts_of_windows_names_the_nearest(store: ArchiveStore, tmp_path: Path) -> None:
    three(store, tmp_path)
    with pytest.raises(SpanError, match="whole windows, which last 60 s") as error:
        distinct(store, "", Span(HOUR + 30, HOUR + 170))
    assert error.value.nearest == (Span(HOUR + 60, HOUR + 120), Span(HOUR, HOUR + 180))
    for nearest in error.value.nearest:
        distinct(store, "", nearest)


def test_a_span_has_at_most_ten_thousand_buckets(store: ArchiveStore) -> None:
    assert len(buckets(Span(0, 600_000), By.MINUTE, [], 60)) == 10_000
    for by, seconds in ((By.MINUTE, 600_060), (By.HOUR, 36_003_600), (By.DAY, 2**40 // 86_400)):
        with pytest.raises(SpanError, match="more than 10000 parts"):
            distinct(store, "", Span(0, seconds * (86_400 if by is By.DAY else 1)), by=by)


def test_an_archive_without_a_record_is_unobserved(store: ArchiveStore) -> None:
    found = distinct(store, "", Span(HOUR, HOUR + 120))
    assert (found.distinct, found.complete) == (0, False)
    assert [one.plain() for one in found.missing] == [
        {
            "host_name": None,
            "span_start": "2025-11-30T12:00:00Z",
            "span_end": "2025-11-30T12:02:00Z",
            "missing_windows": 2,
            "reason": "unobserved",
        }
    ]


def test_a_union_that_is_not_the_clusters_count_is_reported(
    store: ArchiveStore, tmp_path: Path
) -> None:
    for number, host in enumerate(("one", "two")):
        archive.put_window(
            store,
            tmp_path,
            HOUR,
            range(100 * number, 100 * number + 150),
            host=host,
            cluster="web",
            hosts=("one0", "two0"),
            cluster_count=251,
        )
    found = distinct(store, "web", Span(HOUR, HOUR + 60))
    assert found.distinct == 250
    assert [one.reason for one in found.missing] == ["the cluster counted 251, the files have 250"]
    assert found.hosts_known


@pytest.mark.parametrize("lengths", [(30, 60), (60, 30)])
def test_a_span_that_cuts_one_of_two_overlapping_windows_is_an_error(
    store: ArchiveStore, tmp_path: Path, lengths: tuple[int, int]
) -> None:
    # VERVE_WINDOW was changed 40 s after the hour.
    before, after = lengths
    for start in range(HOUR - 60, HOUR + 40, before):
        archive.put_window(store, tmp_path, start, [start], length=before)
    begin = HOUR + 40 - 40 % after
    for start in range(begin, HOUR + 180, after):
        archive.put_window(store, tmp_path, start, [-start], segment="new", length=after)
    overlap = Span(HOUR, HOUR + 60)
    with pytest.raises(SpanError, match="whole windows") as error:
        distinct(store, "", Span(HOUR + 30, HOUR + 60))
    assert error.value.nearest == (overlap,)
    with pytest.raises(SpanError, match="whole windows") as error:
        distinct(store, "", Span(HOUR - 60, HOUR + 30))
    assert error.value.nearest == (Span(HOUR - 60, HOUR), Span(HOUR - 60, HOUR + 60))
    assert distinct(store, "", overlap).distinct == (3 if before == 30 else 2)
    found = distinct(store, "", Span(HOUR - 60, HOUR + 120), by=By.MINUTE).buckets
    assert overlap in [Span(one.since, one.until) for one in found]
    assert sum(one.distinct for one in found) == (6 if before == 30 else 5)


def test_a_window_is_missing_until_the_count_of_the_cluster_is_final(
    store: ArchiveStore, tmp_path: Path
) -> None:
    span = Span(HOUR, HOUR + 60)
    archive.put_window(store, tmp_path, HOUR, [1], cluster="web", final=False)
    found = distinct(store, "web", span)
    assert [(one.host, one.reason) for one in found.missing] == [
        ("one", "the cluster's count is not final")
    ]
    assert not found.hosts_known
    # What one host knows of all is enough.
    two = ("one0", "two0")
    archive.put_window(
        store, tmp_path, HOUR, [2], host="two", cluster="web", hosts=two, cluster_count=2
    )
    found = distinct(store, "web", span)
    assert (found.distinct, found.missing, found.hosts_known) == (2, (), True)


@pytest.mark.parametrize("expired", [False, True], ids=["windows", "roll-ups"])
def test_each_segment_of_a_host_owes_its_own_windows(
    store: ArchiveStore, tmp_path: Path, expired: bool
) -> None:
    # Host two got a new segment within the third window, and the ids of the earlier one are gone.
    for number in range(4):
        start = HOUR + 60 * number
        own = {0: ["old"], 1: ["old"], 2: ["old", "new"], 3: ["new"]}[number]
        hosts, count = ("one0", *own), 3 if number == 2 else 1
        archive.put_window(
            store, tmp_path, start, [1], cluster="web", hosts=hosts, cluster_count=count
        )
        archive.put_window(
            store,
            tmp_path,
            start,
            [1],
            host="two",
            segment=own[-1],
            cluster="web",
            hosts=hosts,
            cluster_count=count,
        )
    if expired:
        for host in ("one", "two"):
            owner = Host(cluster="web", host=host, segment=f"{host}9", scratch=tmp_path)
            upkeep = Upkeep(store, owner, Keep(minutes=0, hours=None))
            for _ in range(2):
                upkeep.turn(HOUR + 7200)
        assert store.list("cluster=web/level=minute/") == []
    found = distinct(store, "web", Span(HOUR, HOUR + 240))
    assert (found.distinct, found.hosts_known) == (1, True)
    assert [(one.host, one.since - HOUR, one.windows, one.reason) for one in found.missing] == [
        ("two", 120, 1, "unobserved")
    ]


def test_a_deadline_ends_it(store: ArchiveStore, tmp_path: Path) -> None:
    three(store, tmp_path)
    with pytest.raises(DeadlineError, match="hint: ask for a shorter span"):
        distinct(store, "", MINUTES, limits=Limits(deadline=0.0))


def test_a_file_that_is_gone_is_missing(store: ArchiveStore, tmp_path: Path) -> None:
    names = three(store, tmp_path)
    store.delete(names[1].name)
    found = distinct(store, "", MINUTES)
    assert (found.distinct, [one.reason for one in found.missing]) == (2000, ["its file is gone"])
    assert [one.complete for one in distinct(store, "", MINUTES, by=By.MINUTE).buckets] == [
        True,
        False,
        True,
    ]


class Replacing:
    """A store in which a file is gone, or half replaced, when it is read for the first time."""

    def __init__(self, store: ArchiveStore, error: Exception) -> None:
        self._store = store
        self._error: Exception | None = error

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - that of the store
        return getattr(self._store, name)

    def get_ranges(self, name: str, ranges: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        """Fail once."""
        if error := self._error:
            self._error = None
            raise error
        return self._store.get_ranges(name, ranges)


@pytest.mark.parametrize("error", [GoneError("it is gone"), DamagedFileError("torn", "a")])
def test_a_file_that_is_replaced_meanwhile_is_read_again(
    store: ArchiveStore, tmp_path: Path, error: Exception
) -> None:
    three(store, tmp_path)
    assert distinct(Replacing(store, error), "", MINUTES).distinct == 2000


@pytest.mark.parametrize("name", ["notes.txt", "20251130T120300Z-60s-other.parquet.1", "a.parquet"])
def test_each_foreign_file_is_an_error_that_names_it(
    store: ArchiveStore, tmp_path: Path, name: str
) -> None:
    three(store, tmp_path)
    folder = folder_of("", Level.MINUTE, HOUR)
    store.put(folder + name, b"these are no ids")
    with pytest.raises(DamagedFileError, match=f"none of its own: `{folder}{name}`"):
        distinct(store, "", MINUTES)


def test_each_damage_is_an_error_that_names_the_file(
    store: ArchiveStore, tmp_path: Path, scale: Callable[[int], int]
) -> None:
    names = three(store, tmp_path)
    sound = {name.name: store.get(name.name) for name in names}
    draw = random.Random(3)
    for _ in range(scale(1000)):
        span = draw.choice([MINUTES, Span(HOUR, HOUR + 60)])
        name = draw.choice([one.name for one in names if one.start < span.until])
        data = bytearray(sound[name])
        bit = draw.randrange(len(data) * 8)
        data[bit // 8] ^= 1 << bit % 8
        store.put(name, bytes(data[: draw.choice([len(data), draw.randrange(len(data))])]))
        with pytest.raises(ArchiveError, match=name):
            distinct(store, "", span)
        store.put(name, sound[name])
    assert distinct(store, "", MINUTES).distinct == 2000


def test_another_file_of_the_same_window_is_an_error(store: ArchiveStore, tmp_path: Path) -> None:
    name, *_ = three(store, tmp_path)
    other = open_store(tmp_path / "other")
    archive.put_window(other, tmp_path, HOUR, range(7))
    store.put(name.name, other.get(name.name))
    with pytest.raises(DamagedFileError, match=f"not the one of its manifest: `{name.name}`"):
        distinct(store, "", MINUTES)


@pytest.mark.parametrize("shape", ["even", "dense", "skewed", "the same"])
def test_any_distribution_is_counted_in_little_memory(
    store: ArchiveStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: str
) -> None:
    monkeypatch.setattr(id_file_writer, "ROW_GROUP", 64)
    monkeypatch.setattr(counting, "LEAST_MEMORY", 8 * 600)
    draw = np.random.default_rng(9)
    everything: set[int] = set()
    for number in range(12):
        ids = {
            "even": draw.integers(-(2**63), 2**63 - 1, 500),
            "dense": draw.integers(2**62, 2**62 + 3000, 500),
            "skewed": (2.0 ** draw.uniform(0, 62, 500)).astype(np.int64) * draw.choice([-1, 1]),
            "the same": np.arange(500) * 2**50,
        }[shape].tolist()
        archive.put_window(store, tmp_path, HOUR + 60 * number, ids)
        everything |= set(ids)
    filled: list[int] = []
    real = counting._distinct

    def noted(found: Any) -> int:  # noqa: ANN401 - as the real one
        filled.append(len(found))
        return real(found)

    monkeypatch.setattr(counting, "_distinct", noted)
    found = distinct(store, "", Span(HOUR, HOUR + 720), limits=Limits(memory=0))
    assert found.distinct == len(everything)
    assert max(filled) <= 600
    assert len(filled) > 1 or shape == "the same"


def test_a_range_that_is_left_out_is_an_error(
    store: ArchiveStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    three(store, tmp_path)
    monkeypatch.setattr(
        Piece, "between", lambda self, *_: iter([(self.file.ids(slice(0, 0), None), 0)])
    )
    with pytest.raises(ArchiveError, match="of 3000 rows that files promise, 0 were read"):
        distinct(store, "", MINUTES)


def test_ranges_cover_all_ids(store: ArchiveStore, tmp_path: Path) -> None:
    assert Ranges([], 10).end_of(-(2**63)) == 2**63 - 1
    assert count([], [], Limits()) == (0, 0, 0)
    archive.put_window(store, tmp_path, HOUR, [-(2**63), 2**63 - 1])
    archive.put_window(store, tmp_path, HOUR + 60, [-(2**63), 2**63 - 1, 0])
    assert distinct(store, "", Span(HOUR, HOUR + 120)).distinct == 3


def test_only_the_owner_reads_the_ids(store: ArchiveStore, tmp_path: Path) -> None:
    three(store, tmp_path)
    for path in (tmp_path / "ids").rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600)
