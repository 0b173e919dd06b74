from __future__ import annotations

import functools
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.support import logged, rig
from verve import Counter, SegmentError
from verve.archive.spool.spool import IDS, Spool
from verve.archive.spool.spool_file import SpoolFile
from verve.cluster.spill.spills import Spills
from verve.ledger import ledger
from verve.log.background import Notices
from verve.startup import attachment, migration

if TYPE_CHECKING:
    from pathlib import Path

    from verve import ManualClock
    from verve.config import Settings

KAFKA = {"sinks": "log,kafka", "kafka_brokers": "127.0.0.1:1"}
REDIS = {"redis_url": "redis://127.0.0.1:1"}


def stored(settings: Settings) -> list[tuple[int, int, int]]:
    """The ledger, oldest first: number of the minute, revision, count."""
    found = ledger.rows(ledger.path_of(settings))[::-1]
    return [((w.window_start - rig.MINUTE) // 60, w.revision, w.unique) for w in found]


def waiting(settings: Settings, sink: str) -> list[int]:
    """The minutes that a sink is to get."""
    with closing(ledger.open_ledger(settings)) as opened:
        return [(w.window_start - rig.MINUTE) // 60 for w in opened.undelivered(sink)]


def closed_minutes(
    settings: Settings, clock: ManualClock, *uniques: int, of_cluster: bool = False
) -> None:
    """A segment with so many ids in each minute, none of which is open."""
    with rig.counter_of(settings, clock) as counter:
        if of_cluster:
            counter.retention.enable()
        for unique in uniques:
            counter.add_many(range(unique))
            clock.advance(60)
            counter.maintenance.run()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    """The clock of all counters that `attach` opens, in the first minute."""
    made = rig.clock_in_minute()

    def opened(settings: Settings, _clock_offset: int | None) -> Counter:
        return rig.counter_of(settings, made)

    monkeypatch.setattr(attachment, "_open", opened)
    monkeypatch.setattr(migration, "Counter", functools.partial(Counter, clock=made))
    return made


def test_a_host_that_counted_alone_joins_a_cluster(tmp_path: Path, clock: ManualClock) -> None:
    closed_minutes(rig.settings(tmp_path, **KAFKA), clock, 3, 4)
    after = rig.settings(tmp_path, cluster="c", **KAFKA, **REDIS)
    attachment.attach(after).close()
    assert stored(after) == [(0, 1, 3), (1, 1, 4)]
    assert waiting(after, "log") == [0, 1]
    # Under the name of the cluster goes only what the cluster counted.
    assert waiting(after, "kafka") == []


def test_a_host_of_another_cluster_keeps_what_it_counted_itself(
    tmp_path: Path, clock: ManualClock
) -> None:
    before = rig.settings(tmp_path, cluster="a", **KAFKA, **REDIS)
    closed_minutes(before, clock, 3, 4, of_cluster=True)
    of_cluster = rig.window(0, 30, host_unique=3)
    with closing(ledger.open_ledger(before)) as opened:
        opened.record([of_cluster], sinks=["log"])
    after = rig.settings(tmp_path, cluster="b", **KAFKA, **REDIS)
    attachment.attach(after).close()
    assert stored(after) == [(0, 1, 30), (1, 0, 4)]
    newest, oldest = ledger.rows(ledger.path_of(after))
    assert oldest == of_cluster
    assert (newest.host_unique, newest.degraded) == (4, True)
    assert waiting(after, "kafka") == []


def test_a_host_that_leaves_its_cluster(tmp_path: Path, clock: ManualClock) -> None:
    closed_minutes(rig.settings(tmp_path, cluster="a", **REDIS), clock, 3, of_cluster=True)
    after = rig.settings(tmp_path, **KAFKA)
    attachment.attach(after).close()
    assert stored(after) == [(0, 0, 3)]
    assert waiting(after, "kafka") == []


def test_another_name_alone_changes_nothing_of_the_minutes(
    tmp_path: Path, clock: ManualClock
) -> None:
    closed_minutes(rig.settings(tmp_path, cluster="a", **KAFKA), clock, 3)
    after = rig.settings(tmp_path, cluster="b", **KAFKA)
    attachment.attach(after).close()
    assert stored(after) == [(0, 1, 3)]
    assert waiting(after, "log") == waiting(after, "kafka") == [0]


@pytest.mark.parametrize("redis", [{}, REDIS])
def test_the_open_minute_goes_on(tmp_path: Path, clock: ManualClock, redis: dict[str, str]) -> None:
    before = rig.settings(tmp_path, **KAFKA)
    with rig.counter_of(before, clock) as counter:
        counter.add_many(range(5))
    after = rig.settings(tmp_path, cluster="c", **KAFKA, **redis)
    with attachment.attach(after) as counter:
        assert counter.count() == 5
        assert counter.add_many(range(4, 8)) == 3
        # It is told once it is over.
        assert stored(after) == [(0, 0, 5)]
        assert waiting(after, "log") == waiting(after, "kafka") == []
        clock.advance(60)
        counter.maintenance.run()
        assert [record.unique for record in counter.closed()] == [8]
    with closing(ledger.open_ledger(after)) as opened:
        opened.record([rig.window(0, 8)], sinks=after.sinks)
    assert stored(after) == [(0, 1, 8)]
    assert waiting(after, "log") == waiting(after, "kafka") == [0]


def test_the_open_minute_ended_in_between(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with rig.counter_of(rig.settings(tmp_path, **KAFKA), clock) as counter:
        counter.add_many(range(5))

    retire = migration.retire

    def slowly(settings: Settings, **options: bool) -> object:
        left = retire(settings, **options)
        clock.advance(60)
        return left

    monkeypatch.setattr(migration, "retire", slowly)
    after = rig.settings(tmp_path, cluster="c", **KAFKA)
    with attachment.attach(after) as counter:
        assert counter.count() == 0
    assert stored(after) == [(0, 1, 5)]
    assert waiting(after, "log") == waiting(after, "kafka") == [0]


def test_ids_that_do_not_fit_any_more_leave_the_minute_degraded(
    tmp_path: Path, clock: ManualClock
) -> None:
    with rig.counter_of(rig.settings(tmp_path, max_ids_per_window="1000000"), clock) as counter:
        counter.add_many(range(200_000))
    after = rig.settings(tmp_path, cluster="c", max_ids_per_window="1000")
    attachment.attach(after).close()
    assert stored(after) == [(0, 0, 200_000)]
    assert waiting(after, "log") == [0]


def test_spills_of_the_cluster_that_was_left_stay_out_of_the_next(
    tmp_path: Path, clock: ManualClock
) -> None:
    before = rig.settings(tmp_path, cluster="a", **REDIS)
    closed_minutes(before, clock, 3, of_cluster=True)
    spills = before.state_dir / "spill"
    spills.mkdir(parents=True)
    (spills / "60-60-abc.ids").write_bytes(b"ids")
    attachment.attach(rig.settings(tmp_path, cluster="a", window="2", **REDIS)).close()
    assert "60-60-abc.ids" in [path.name for path in spills.iterdir()]
    attachment.attach(rig.settings(tmp_path, cluster="b", window="2", **REDIS)).close()
    assert {path.suffix for path in spills.iterdir()} == {".left"}


def test_ids_that_wait_for_redis_outlive_another_window_length(
    tmp_path: Path, clock: ManualClock
) -> None:
    before = rig.settings(tmp_path, **REDIS)
    closed_minutes(before, clock, 3, 0, 5, of_cluster=True)
    attachment.attach(rig.settings(tmp_path, window="2", **REDIS)).close()
    found = Spills(before, "", Notices()).find()
    heads = [(one.head.window_start, one.head.window_seconds) for one in found]
    assert heads == [(rig.MINUTE, 60), (rig.MINUTE + 120, 60)]
    kept = [set().union(*one.read(0)[0].values()) for one in found]
    assert kept == [{id.to_bytes(8, "little") for id in range(n)} for n in (3, 5)]


def test_a_segment_stays_while_its_ids_have_no_room(tmp_path: Path, clock: ManualClock) -> None:
    before = rig.settings(tmp_path, **REDIS)
    closed_minutes(before, clock, 200, of_cluster=True)
    after = rig.settings(tmp_path, window="2", spill_max="1024", **REDIS)
    with pytest.raises(SegmentError, match="VERVE_SPILL_MAX"):
        attachment.attach(after)
    with rig.counter_of(before, clock) as counter:
        assert counter.closed()[0].unique == 200


def test_a_minute_of_a_host_alone_gives_way_to_that_of_its_cluster(tmp_path: Path) -> None:
    settings = rig.settings(tmp_path)
    with closing(ledger.open_ledger(settings)) as opened:
        opened.record([rig.window(0, 3)], sinks=["log"])
        rig.mark_taken(opened, "log", [rig.window(0).key], 7.0)
        of_cluster = rig.window(0, 30, host_unique=0)
        opened.record([of_cluster], sinks=lambda _window: ["log", "kafka"])
        assert opened.undelivered("kafka") == opened.undelivered("log") == [of_cluster]
        opened.record([rig.window(0, 3)], sinks=["log"])
    assert ledger.rows(ledger.path_of(settings)) == [of_cluster]


def archived_settings(directory: Path, **flags: str) -> Settings:
    """Settings with an archive."""
    return rig.settings(directory, archive=str(directory / "ids"), archive_reserve="0", **flags)


def spooled(settings: Settings) -> dict[tuple[int, int], tuple[str, int]]:
    """The windows in the spool: number of the minute and length; their state and ids."""
    found = {}
    for path in Spool(settings.state_dir, 1, 0).files(IDS):
        file = SpoolFile.open(path)
        head = file.head
        assert len(b"".join(file.pieces())) == 8 * head.count
        minute = (head.window_start - rig.MINUTE) // 60
        found[minute, head.window_seconds] = (str(head.state), head.count)
    return found


def test_the_ids_of_a_host_with_an_archive_go_to_the_spool(
    tmp_path: Path, clock: ManualClock
) -> None:
    before = archived_settings(tmp_path, **KAFKA)
    with attachment.attach(before) as counter:
        counter.retention.enable()
        for unique in (3, 0, 4):
            counter.add_many(range(unique))
            clock.advance(60)
            counter.maintenance.run()
            if unique == 3:
                counter.retention.settle(rig.MINUTE)
        counter.add_many(range(5))
    after = archived_settings(tmp_path, window="30", **KAFKA)
    attachment.attach(after).close()
    # The counts are those of a host alone, though it kept ids.
    assert stored(after) == [(0, 1, 3), (1, 1, 0), (2, 1, 4), (3, 1, 5)]
    assert waiting(after, "kafka") == [0, 1, 2, 3]
    assert spooled(after) == {
        (1, 60): ("empty", 0),
        (2, 60): ("archived", 4),
        (3, 60): ("archived", 5),
    }


def test_the_open_minute_that_goes_on_is_archived_by_both(
    tmp_path: Path, clock: ManualClock
) -> None:
    before = archived_settings(tmp_path)
    with attachment.attach(before) as counter:
        counter.retention.enable()
        counter.add_many(range(4))
        clock.advance(60)
        counter.add_many(range(5))
    after = archived_settings(tmp_path, cluster="c")
    with attachment.attach(after) as counter:
        assert counter.count() == 5
    assert spooled(after) == {(0, 60): ("archived", 4), (1, 60): ("archived", 5)}


def test_a_host_of_a_cluster_with_an_archive_changes_its_windows(
    tmp_path: Path, clock: ManualClock
) -> None:
    before = archived_settings(tmp_path, cluster="a", **REDIS)
    with attachment.attach(before) as counter:
        counter.retention.enable()
        counter.add_many(range(3))
        clock.advance(60)
        counter.maintenance.run()
    after = archived_settings(tmp_path, cluster="a", window="30", **REDIS)
    attachment.attach(after).close()
    assert stored(after) == [(0, 0, 3)]
    assert spooled(after) == {(0, 60): ("archived", 3)}
    assert len(Spills(after, "x", Notices()).find()) == 1


def test_a_spool_without_room_does_not_hold_up_the_start(
    tmp_path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    before = archived_settings(tmp_path)
    closed_minutes(before, clock, 3, of_cluster=True)
    before.state_dir.mkdir()
    (before.state_dir / "segment.json").write_text('{"keeper": "archive"}')
    (before.state_dir / "archive").touch()
    with caplog.at_level("ERROR"):
        attachment.attach(archived_settings(tmp_path, window="30")).close()
    assert stored(before) == [(0, 1, 3)]
    assert any("The archive lacks 3 ids" in told.getMessage() for told in logged.records(caplog))
