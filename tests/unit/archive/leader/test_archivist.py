"""The leader's part of the archive, step by step: what is kept, what is dropped, and when."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import rig
from verve._verve import SettingError
from verve.archive.format.manifest import State
from verve.archive.leader import archivist
from verve.archive.leader.archivist import APART_SECONDS, KEPT_ARENAS, Archivist
from verve.archive.spool.spool import IDS, NOTE, NoRoomError, Spool
from verve.archive.spool.spool_file import SpoolFile
from verve.clock import Clock
from verve.cluster.cluster_window import ClusterNote
from verve.status import archive_status
from verve.windows.release import ArenaRelease, Keeper
from verve.windows.ring import windows_after

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from verve import Counter, ManualClock


class IdleWriter:
    """A writer that does nothing; what it is told is kept."""

    def __init__(
        self, options: dict[str, Any], report: Callable[[Mapping[str, Any]], None], _clock: Clock
    ) -> None:
        self.options = options
        self.report = report
        self.woken = 0

    def watch(self) -> bool:
        """It runs."""
        return False

    def wake(self) -> None:
        """Count the calls."""
        self.woken += 1

    def is_well(self) -> None:
        """Do nothing."""

    def stop(self) -> None:
        """Do nothing."""


class Host:
    """A host with an archive whose clocks and steps belong to the test."""

    def __init__(self, directory: Path, keepers: set[Keeper], **flags: str) -> None:
        self.directory = directory
        self.settings = rig.settings(
            directory, archive=str(directory / "ids"), archive_reserve="0", **flags
        )
        self.settings.state_dir.mkdir(exist_ok=True)
        self.manual: ManualClock = rig.clock_in_minute()
        self.counter: Counter = rig.counter_of(self.settings, self.manual)
        self.counter.retention.enable()
        self.monotonic = 0.0
        self.leads = True
        self.release = ArenaRelease(self.counter, keepers)
        self.begin()

    def begin(self) -> None:
        """Begin a term."""
        self.archivist = Archivist(
            self.counter,
            self.settings,
            self.release,
            lambda: self.leads,
            clock=Clock(monotonic=lambda: self.monotonic),
            start_writer=self._writer,
        )

    def _writer(
        self, options: dict[str, Any], report: Callable[[Mapping[str, Any]], None], clock: Clock
    ) -> IdleWriter:
        self.writer = IdleWriter(options, report, clock)
        return self.writer

    def minute(self, *ids: int) -> int:
        """Let a minute with these ids go by; its start."""
        start = self.counter.current().window_start
        self.counter.add_many(ids)
        self.manual.advance(60)
        self.counter.maintenance.run()
        return start

    def step(self) -> None:
        """Take a step at a time when it is due."""
        self.monotonic += 10
        self.archivist.step()
        self.counter.maintenance.run()

    def spooled(self) -> dict[int, tuple[State, set[int]]]:
        """What the spool has: the state and the ids of each window."""
        found = {}
        for path in Spool(self.settings.state_dir, 1, 0).files(IDS):
            file = SpoolFile.open(path)
            body = b"".join(file.pieces())
            ids = {
                int.from_bytes(body[at : at + 8], "little", signed=True)
                for at in range(0, len(body), 8)
            }
            found[file.head.window_start] = (file.head.state, ids)
        return found

    def status(self) -> archive_status.ArchiveStatus:
        """What the status file says."""
        return archive_status.of(self.settings)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A host alone."""
    made = Host(tmp_path, {Keeper.ARCHIVE})
    yield made
    made.counter.close()


def test_it_leaves_the_boundary_to_the_other_tasks(host: Host) -> None:
    start = host.counter.current().window_start
    host.counter.add_many([1, 2])
    host.manual.advance(59.125)
    host.counter.maintenance.run()
    assert host.archivist.step() == pytest.approx(APART_SECONDS - 0.125)
    assert host.spooled() == {}
    host.manual.advance(APART_SECONDS - 0.125)
    host.archivist.step()
    assert host.spooled() == {start: (State.ARCHIVED, {1, 2})}


def blocked(host: Host) -> Path:
    """Put a file in the place of the spool, so that nothing can be written there."""
    place = host.settings.state_dir / "archive"
    if place.is_dir():
        place.rename(place.with_name("away"))
    place.touch()
    return place


def failing(error: Exception) -> Iterator[bytes]:
    """Ids whose first piece cannot be read."""
    yield from (_raised(error) for _ in range(1))


def _raised(error: Exception) -> bytes:
    raise error


def test_windows_go_to_the_spool_and_their_arenas_are_free(host: Host) -> None:
    first = host.minute(1, -2, 2**63 - 1)
    second = host.minute()
    host.manual.advance(180)
    host.counter.maintenance.run()
    assert first in host.counter.retention.kept()
    host.step()
    found = host.spooled()
    assert found[first] == (State.ARCHIVED, {1, -2, 2**63 - 1})
    assert found[second] == (State.EMPTY, set())
    assert [found[start][0] for start in sorted(found)][2:] == [State.EMPTY, State.GAP, State.GAP]
    assert host.counter.retention.kept() == []
    assert host.counter.retention.settled() == max(found)
    assert host.counter.stats()["arenas"]["free"] == 15
    assert host.writer.woken
    assert host.status().waiting_since == first
    host.step()
    assert host.spooled() == found


def test_many_ids_are_read_in_pieces(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archivist, "AT_ONCE", 10)
    start = host.minute(*range(-4_500, 4_500))
    host.step()
    assert host.spooled() == {start: (State.ARCHIVED, set(range(-4_500, 4_500)))}


def test_a_restart_goes_on_where_the_spool_ended(host: Host) -> None:
    first = host.minute(1)
    host.step()
    second = host.minute(2)
    host.begin()
    host.step()
    assert host.spooled() == {
        first: (State.ARCHIVED, {1}),
        second: (State.ARCHIVED, {2}),
    }


def test_a_leader_that_lost_its_lease_writes_nothing(host: Host) -> None:
    host.minute(1)
    host.leads = False
    host.step()
    assert host.spooled() == {}
    assert len(host.counter.retention.kept()) == 1


def test_the_arena_waits_for_redis_and_for_the_spool(tmp_path: Path) -> None:
    host = Host(tmp_path, {Keeper.ARCHIVE, Keeper.CLUSTER})
    first, second = host.minute(1), host.minute(2)
    host.step()
    assert host.counter.retention.kept() == [first, second]
    host.release.permit(Keeper.CLUSTER, first)
    assert host.counter.retention.kept() == [second]
    third = host.minute(3)
    host.release.permit(Keeper.CLUSTER, third)
    assert host.counter.retention.kept() == [third]
    host.step()
    assert host.counter.retention.kept() == []
    host.counter.close()


def test_a_failure_delays_and_nothing_is_dropped_while_there_is_room(host: Host) -> None:
    place = blocked(host)
    starts = [host.minute(number) for number in range(KEPT_ARENAS)]
    host.step()
    host.archivist.guard()
    assert host.counter.retention.kept() == starts
    assert host.status().spool_error
    place.unlink()
    host.step()
    assert [ids for _, ids in host.spooled().values()] == [{n} for n in range(KEPT_ARENAS)]
    status = host.status()
    assert (status.spool_error, status.dropped, status.unkept) == (None, 0, ())


def test_the_oldest_windows_are_dropped_and_counting_goes_on(host: Host) -> None:
    place = blocked(host)
    starts = []
    for number in range(20):
        starts.append(host.minute(number))
        host.step()
        host.archivist.guard()
        host.counter.maintenance.run()
    assert host.counter.retention.kept() == starts[-KEPT_ARENAS:]
    place.unlink()
    host.step()
    found = host.spooled()
    dropped = 20 - KEPT_ARENAS
    assert [found[start] for start in starts[:dropped]] == [(State.DROPPED, set())] * dropped
    assert [found[start][1] for start in starts[dropped:]] == [{n} for n in range(dropped, 20)]
    host.step()
    status = host.status()
    assert status.dropped == dropped
    assert [one.window_start for one in status.unkept] == starts[:dropped]
    assert {one.state for one in status.unkept} == {"dropped"}
    host.begin()
    host.step()
    assert host.status().dropped == dropped, "a later term continues the totals"


def test_windows_that_hold_too_many_ids_are_dropped_sooner(tmp_path: Path) -> None:
    host = Host(tmp_path, {Keeper.ARCHIVE}, max_ids_per_window="1000")
    blocked(host)
    starts = [host.minute(*range(600)) for _ in range(3)]
    host.step()
    host.archivist.guard()
    assert host.counter.retention.kept() == starts[2:]
    host.counter.close()


def test_a_disk_that_hangs_does_not_hold_up_the_guard(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step is inside a write when the guard gives its window up, and then goes on."""
    starts = [host.minute(number) for number in range(KEPT_ARENAS + 1)]
    real = archivist.ids_of

    def slow(counter: Counter, start: int, count: int) -> Iterator[bytes]:
        if start == starts[0]:
            host.monotonic += 1_000
            host.archivist.guard()
            host.counter.maintenance.run()
        yield from real(counter, start, count)

    monkeypatch.setattr(archivist, "ids_of", slow)
    host.step()
    found = host.spooled()
    assert found[starts[0]] == (State.DROPPED, set())
    assert [found[start][1] for start in starts[1:]] == [{n} for n in range(1, KEPT_ARENAS + 1)]


def test_ids_that_are_gone_are_lost(host: Host) -> None:
    start = host.minute(5)
    host.counter.retention.disable()
    host.counter.maintenance.run()
    host.step()
    assert host.spooled() == {start: (State.LOST, set())}
    host.step()
    assert [(one.window_start, one.state) for one in host.status().unkept] == [(start, "lost")]


def test_notes_of_the_cluster_wait_for_the_disk(host: Host) -> None:
    start = host.minute(1)
    place = blocked(host)
    host.archivist.note(ClusterNote(start, ("a", "b"), 7, final=True))
    host.step()
    place.unlink()
    host.step()
    host.step()
    [note] = Spool(host.settings.state_dir, 1, 0).files(NOTE)
    assert note.name.startswith(f"{start}-60-")


def test_what_the_writer_reports_is_in_the_status(host: Host) -> None:
    host.step()
    host.writer.report({"failed": "no bucket", "attempts": 3})
    host.step()
    assert (host.status().error, host.status().attempts) == ("no bucket", 3)
    host.writer.report({"recovered": 3})
    written = {"window_start": 60, "window_seconds": 60, "ids": 1, "seconds": 0.1}
    host.writer.report({"archived": "archived", **written})
    host.writer.report({"archived": "empty", **written})
    host.writer.report({"kept_up": 1_800_000_000})
    host.writer.report({"unknown": 1})
    host.step()
    status = host.status()
    assert (status.error, status.attempts, status.archived, status.empty) == (None, 0, 1, 1)
    assert status.kept_up == 1_800_000_000
    assert host.writer.options["archive"] == host.settings.archive


def test_a_full_spool_is_named(tmp_path: Path) -> None:
    host = Host(tmp_path, {Keeper.ARCHIVE}, archive_spool_max="1MiB", max_ids_per_window="1M")
    for _ in range(2):
        host.minute(*range(70_000))
    host.step()
    assert len(host.spooled()) == 1
    assert "the spool uses" in (host.status().spool_error or "")
    assert str(os.fspath(host.settings.state_dir)) in (host.status().spool_error or "")
    host.counter.close()


def test_a_successor_leaves_what_the_spool_has(tmp_path: Path) -> None:
    """Redis is away, so the arena is kept, and a new leader sees the window once more."""
    keepers = {Keeper.ARCHIVE, Keeper.CLUSTER}
    host = Host(tmp_path, keepers, archive_spool_max="1MiB", max_ids_per_window="1M")
    start = host.minute(*range(100_000))
    host.step()
    host.release = ArenaRelease(host.counter, keepers)
    host.begin()
    host.step()
    assert host.status().spool_error is None
    assert host.spooled()[start][0] is State.ARCHIVED
    host.counter.close()


def test_a_leader_that_was_deposed_while_it_was_paused_loses_nothing(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = host.minute(5)

    def paused(*_: object) -> Iterator[bytes]:
        host.leads = False
        host.counter.retention.settle(start)
        host.counter.maintenance.run()
        yield from failing(SettingError())

    monkeypatch.setattr(archivist, "ids_of", paused)
    host.step()
    assert host.spooled() == {}
    assert host.status().unkept == ()


def test_a_window_is_given_up_once(tmp_path: Path) -> None:
    """In a cluster it stays kept for Redis; each look at the arenas finds it again."""
    host = Host(tmp_path, {Keeper.ARCHIVE, Keeper.CLUSTER})
    blocked(host)
    starts = [host.minute(number) for number in range(KEPT_ARENAS + 3)]
    host.step()
    for _ in range(3):
        host.archivist.guard()
    host.step()
    assert host.counter.retention.kept() == starts
    assert host.status().dropped == 3
    assert [one.window_start for one in host.status().unkept] == starts[:3]
    host.counter.close()


def test_windows_of_a_retired_segment_that_do_not_fit_are_dropped(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = host.minute(5)

    full = NoRoomError("full; hint: make room")
    monkeypatch.setattr(archivist, "ids_of", lambda *_: failing(full))
    windows = windows_after(host.counter, start - 1)
    archivist.spool_retired(host.counter, windows, host.settings, "")
    assert host.spooled() == {start: (State.DROPPED, set())}
