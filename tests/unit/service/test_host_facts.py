"""Work on a disk that hangs: who waits, and for how long."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.support import rig
from verve import Counter
from verve.publishing.sink_status import SinkStatus
from verve.request.body_budget import AT_ONCE, Bodies, BodiesFullError
from verve.service import host_facts
from verve.service.disk_threads import DiskThreads
from verve.service.host_facts import Facts, HostFactsReader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from verve.config import Settings


class Disk:
    """Answers once it is let go, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.goes_on = threading.Event()

    def __call__(self, _settings: Settings, _counter: Counter, _known: Facts | None) -> Facts:
        """What the files say."""
        self.asked += 1
        self.goes_on.wait()
        return Facts(segment_in_place=False)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """Give a disk that hangs."""
    one = Disk()
    monkeypatch.setattr(host_facts, "read", one)
    monkeypatch.setattr(host_facts, "READING_SECONDS", 0.1)
    yield one
    one.goes_on.set()


def test_one_look_serves_all_who_ask_meanwhile(disk: Disk, tmp_path: Path) -> None:
    reader = HostFactsReader(rig.settings(tmp_path), Counter())

    async def ask_often() -> list[Facts]:
        asked = [asyncio.ensure_future(reader.facts()) for _ in range(50)]
        await asyncio.sleep(0)
        disk.goes_on.set()
        return await asyncio.gather(*asked)

    assert asyncio.run(ask_often()) == [Facts(segment_in_place=False)] * 50
    assert disk.asked == 1
    assert asyncio.run(reader.facts()) == Facts(segment_in_place=False)
    assert disk.asked == 2


def test_a_request_on_a_hanging_disk_gets_the_last_known_facts(disk: Disk, tmp_path: Path) -> None:
    reader = HostFactsReader(rig.settings(tmp_path), Counter())
    assert asyncio.run(reader.facts()) == Facts(sinks={"log": SinkStatus()}, is_stale=True)
    began = time.monotonic()
    for _ in range(100):
        assert asyncio.run(reader.facts()).is_stale
    # Who comes later waits no more.
    assert time.monotonic() - began < 5
    assert disk.asked == 1
    disk.goes_on.set()
    while asyncio.run(reader.facts()).is_stale:
        pass
    disk.goes_on.clear()
    assert asyncio.run(reader.facts()) == Facts(segment_in_place=False, is_stale=True)


def test_a_reading_that_no_thread_began_is_not_lost(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(host_facts, "READING_SECONDS", 0.05)
    threads = DiskThreads("test-facts", most=1)
    monkeypatch.setattr(host_facts, "DiskThreads", lambda *_, **__: threads)
    let_go = threading.Event()
    threads.submit(lambda: let_go.wait(10))
    reader = HostFactsReader(rig.settings(tmp_path), Counter())
    for _ in range(3):
        assert asyncio.run(reader.facts()).is_stale
    let_go.set()
    while asyncio.run(reader.facts()).is_stale:
        pass


def test_threads_are_bounded_and_work_that_nobody_waits_for_is_left_out() -> None:
    threads = DiskThreads("test-disk", most=2)
    let_go = threading.Event()
    began = [threads.submit(lambda: let_go.wait(10)) for _ in range(5)]
    assert began[4].cancel()
    running = [thread for thread in threading.enumerate() if thread.name == "test-disk"]
    assert len(running) == 2
    assert all(thread.daemon for thread in running)
    let_go.set()
    assert [future.result(10) for future in began[:4]] == [True] * 4
    failing = threads.submit(lambda: 1 // 0)
    assert isinstance(failing.exception(10), ZeroDivisionError)


def test_room_is_taken_by_what_arrived() -> None:
    bodies = Bodies(10)
    with bodies.held() as small, bodies.held() as large:
        small.grow(1)
        large.grow(AT_ONCE * 10 - 1)
        with pytest.raises(BodiesFullError):
            small.grow(1)
        assert small.size == 1
        large.drop()
        assert large.size == 0
        small.grow(AT_ONCE * 10 - 1)
    with bodies.held() as again:
        again.grow(AT_ONCE * 10)


def test_what_is_to_come_takes_half_of_the_room_at_the_most() -> None:
    bodies = Bodies(10)
    with bodies.held() as one, bodies.held() as other:
        assert one.expect(AT_ONCE * 5)
        assert not other.expect(1)
        other.grow(AT_ONCE * 5)
        with pytest.raises(BodiesFullError):
            other.grow(1)
    with bodies.held() as again:
        assert again.expect(AT_ONCE * 5)
