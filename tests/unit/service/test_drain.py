"""Whether a service drains, and what a worker reports of it."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from concurrent.futures import Future
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from tests.support import logged, rig
from verve._verve import Group
from verve.cluster.replication.pending_acks import PendingAcks
from verve.request.body_budget import Bodies
from verve.service.drain import Drain, DrainReport, start_of_service
from verve.service.termination import Termination

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from verve import Counter

START = 7


@pytest.fixture
def counter(tmp_path: Path) -> Iterator[Counter]:
    with rig.counter_of(rig.settings(tmp_path)) as made:
        yield made


def _figures(counter: Counter) -> tuple[int, int, int]:
    workers = counter.stats()["workers"]
    return workers["draining"], workers["open_batches"], workers["store_waits"]


def test_workers_of_one_server_are_of_one_start() -> None:
    own = start_of_service()
    assert own == start_of_service()
    assert 0 < own < 2**64
    # The process that starts the workers stands for the start: here it is this one.
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert set(pool.starmap(start_of_service, [()] * 4)) == {own}


def test_the_start_of_a_later_process_has_a_larger_number() -> None:
    def of_child() -> int:
        program = "from verve.service.drain import start_of_service; print(start_of_service())"
        return int(subprocess.check_output([sys.executable, "-c", program]))

    assert start_of_service() < of_child() < of_child()


def test_a_drain_holds_for_one_start(counter: Counter) -> None:
    before, after = Drain(counter, START), Drain(counter, START + 1)
    before.announce()
    assert counter.stats()["workers"]["serving"] == 1
    assert not before.is_on()
    assert counter.drain.begin(counter.drain.newest())
    assert before.is_on()
    after.announce()
    assert (before.is_on(), after.is_on()) == (True, False)
    assert counter.drain.end()
    assert not before.is_on()


def test_no_start_drains_in_a_segment_of_an_earlier_build(counter: Counter) -> None:
    # Its words are zero, which is no number of a start.
    assert (counter.drain.newest(), counter.drain.drained()) == (0, 0)
    assert not Drain(counter).is_on()


def test_what_is_open_is_written_only_while_the_worker_drains(counter: Counter) -> None:
    drain, bodies = Drain(counter, START), Bodies(10)
    report = DrainReport(counter, drain, Termination(), bodies)
    acks = PendingAcks()
    acks.put([Group(0, 0, [b"12345678"])], Future())
    report.confirmer = SimpleNamespace(waits=acks.waiting)  # type: ignore[assignment]
    with bodies.held():
        report.step(leads=False)
        assert _figures(counter) == (0, 0, 0)
        assert counter.drain.begin(START)
        report.step(leads=False)
        assert _figures(counter) == (1, 1, 1)
    report.step(leads=False)
    assert _figures(counter) == (1, 0, 1)
    assert counter.drain.end()
    report.step(leads=False)
    assert _figures(counter) == (0, 0, 0)


def test_a_worker_that_ends_drains_too(counter: Counter) -> None:
    termination, bodies = Termination(), Bodies(10)
    report = DrainReport(counter, Drain(counter, START), termination, bodies)
    termination.drain()
    with bodies.held():
        report.step(leads=True)
    assert _figures(counter) == (1, 1, 0)


def test_the_leader_logs_each_change_once(
    counter: Counter, caplog: pytest.LogCaptureFixture
) -> None:
    reports = [
        DrainReport(counter, Drain(counter, START), Termination(), Bodies(10)) for _ in range(2)
    ]

    def told() -> list[str]:
        caplog.clear()
        for _ in range(3):
            for number, report in enumerate(reports):
                report.step(leads=number == 0)
        return logged.events(caplog)

    caplog.set_level("INFO", logger="verve")
    assert told() == []
    assert counter.drain.begin(START)
    assert told() == ["service.draining"]
    assert counter.drain.end()
    assert told() == ["service.drain_undone"]


def test_a_worker_that_starts_in_a_drain_does_not_log_it(
    counter: Counter, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="verve")
    assert counter.drain.begin(START)
    report = DrainReport(counter, Drain(counter, START), Termination(), Bodies(10))
    report.step(leads=True)
    assert logged.events(caplog) == []
    assert _figures(counter) == (1, 0, 0)


def test_a_request_that_gave_up_does_not_wait() -> None:
    acks, first, second = PendingAcks(), Future[None](), Future[None]()
    for acknowledged in (first, second):
        acks.put([Group(0, 0, [b"12345678"])], acknowledged)
    assert acks.waiting() == 2
    first.cancel()
    assert acks.waiting() == 1
    acks.pieces(10)
    acks.sent()
    assert acks.waiting() == 0
