from __future__ import annotations

import os
import signal
import threading
import time
from multiprocessing.process import BaseProcess
from typing import Any

import pytest
from granian.server import Server

from verve import VerveError, config
from verve.config import SUPERVISOR
from verve.serving import restart_policy, supervisor
from verve.serving.restart_policy import RestartPolicy
from verve.serving.supervisor import can_supervise, supervised


def test_this_granian_can_be_supervised() -> None:
    assert can_supervise(Server)
    assert not can_supervise(object)


def test_a_killed_worker_is_always_started_again() -> None:
    policy = RestartPolicy()
    pauses = [policy.pause_after(0, -9, 0.1) for _ in range(100)]
    assert pauses[:3] == [0, 0.05, 0.1]
    assert pauses[-1] == restart_policy.LONGEST_PAUSE
    assert policy.pause_after(0, -9, 60) == 0
    assert policy.pause_after(0, -9, 0.1) == 0


def test_a_worker_that_aborts_at_its_start_is_given_up() -> None:
    policy = RestartPolicy()
    assert [policy.pause_after(0, -signal.SIGABRT, 0.2) for _ in range(5)] == [
        *(0.1, 0.2, 0.4, 0.8),
        None,
    ]


def test_one_that_aborts_and_exits_by_turns_is_given_up() -> None:
    policy = RestartPolicy()
    statuses = (1, -signal.SIGABRT, 1, -signal.SIGSEGV, 1)
    pauses = [policy.pause_after(0, status, 0.2) for status in statuses]
    assert pauses[-1] is None
    assert None not in pauses[:-1]


def test_a_worker_that_keeps_crashing_is_restarted_ever_later() -> None:
    policy = RestartPolicy()
    assert policy.pause_after(0, -signal.SIGSEGV, 60) == 0
    pauses = [policy.pause_after(0, -signal.SIGSEGV, 0.2) for _ in range(20)]
    assert pauses[:3] == [0.1, 0.2, 0.4]
    assert pauses[-1] == restart_policy.LONGEST_FAILURE_PAUSE


def test_a_worker_that_cannot_start_ends_the_server() -> None:
    policy = RestartPolicy()
    assert policy.pause_after(0, 1, 0.3) == 0.1
    assert policy.pause_after(1, 1, 0.3) == 0.1
    assert policy.pause_after(0, 1, 0.3) is None


def test_a_worker_that_exits_by_itself_is_restarted() -> None:
    policy = RestartPolicy()
    for _ in range(10):
        assert policy.pause_after(0, 1, 100) == 0


def test_a_kill_between_two_failures_is_no_failure() -> None:
    policy = RestartPolicy()
    for status in (1, -9, 1, -9, 1):
        assert policy.pause_after(0, status, 0.1) is not None


class Process:
    """A process that has ended, or not."""

    def __init__(self, exitcode: int | None) -> None:
        self.exitcode = exitcode
        self.pid = 4_000_000


class Worker:
    """The part of Granian's worker that is used."""

    def __init__(self, idx: int, exitcode: int | None = None) -> None:
        self.idx = idx
        self.inner = Process(exitcode)
        self.birth = time.monotonic()
        self.told = threading.Semaphore(0)
        self.interrupt_by_parent = False

    def start(self) -> None:
        """Do nothing."""

    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self.inner.exitcode is None

    def terminate(self) -> None:
        """Count it."""
        self.told.release()


class Fleet:
    """The part of Granian's server that is used."""

    def __init__(self, **_options: object) -> None:
        self.wrks = [Worker(0), Worker(1)]
        self.interrupt_children: list[int] = []
        self.interrupt_signal = False
        self.reload_signal = False
        self.main_loop_interrupt = threading.Event()
        self.respawn_failed_workers = True
        self.respawned: list[int] = []
        self.exits: list[int] = []
        self.startups = 0
        self.reload_on_changes = False
        self.runtime_threads = 1
        self.spawned = self.wrks[0]

    def startup(self, *_: object) -> None:
        """Count it."""
        self.startups += 1

    def shutdown(self, exit_code: int = 0) -> None:
        """Note the status, and exit as Granian does."""
        self.exits.append(exit_code)
        raise SystemExit(exit_code)

    def _spawn_worker(self, **_options: object) -> Worker:
        return self.spawned

    def _stop_workers(self) -> None:
        for worker in self.wrks:
            worker.terminate()
        # Ends when the last has been told three times.
        assert all(self.wrks[-1].told.acquire(timeout=10) for _ in range(3))

    def _spawn_workers(self, *_: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    def _serve_loop(self, *_: object) -> None:
        raise RuntimeError("a bug")

    def _respawn_workers(self, workers: list[int], *_: object) -> None:
        for index in workers:
            self.respawned.append(index)
            self.wrks[index] = Worker(index)


@pytest.fixture
def fleet() -> Any:  # noqa: ANN401 - a class made at run time
    return supervised(Fleet, config.load(environ={}), {})()


def test_all_who_died_are_started_again(fleet: Any) -> None:  # noqa: ANN401
    fleet.wrks = [Worker(0, -9), Worker(1, -9)]
    # Only one of them has been reported yet.
    fleet._respawn_workers([0], None, None)
    assert fleet.respawned == [0, 1]
    # The other is reported now, and lives already.
    fleet._respawn_workers([1], None, None)
    assert fleet.respawned == [0, 1]
    assert fleet.interrupt_children == []


def test_a_death_in_between_is_not_forgotten(fleet: Any) -> None:  # noqa: ANN401
    fleet.wrks = [Worker(0, -9), Worker(1)]
    start = Fleet._respawn_workers

    def start_and_lose(self: Any, workers: list[int], *rest: object) -> None:  # noqa: ANN401
        start(self, workers, *rest)
        if workers == [0]:
            self.wrks[1] = Worker(1, -9)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Fleet, "_respawn_workers", start_and_lose)
        fleet._respawn_workers([0], None, None)
    assert fleet.respawned == [0, 1]
    assert fleet.interrupt_children == []


class Ended(BaseProcess):
    """A process that has ended with a status, and what waits for it."""

    exitcode = 0
    sentinel = 0
    pid = None

    def __init__(self) -> None:
        self._read, write = os.pipe()
        os.close(write)
        self.sentinel = self._read

    def is_alive(self) -> bool:
        """It has ended."""
        return False


def _watched(fleet: Any, index: int) -> Any:  # noqa: ANN401
    """A worker that has ended, as the thread that watches it leaves it."""
    worker = Worker(index)
    worker.inner = Ended()  # type: ignore[assignment]
    worker._watcher = lambda: pytest.fail("Granian's own judges at once")  # type: ignore[attr-defined]
    fleet.spawned = worker
    fleet._spawn_worker(idx=index, callback_loader=list)
    fleet.wrks[index] = worker
    worker._watcher()  # type: ignore[attr-defined]
    return worker


@pytest.mark.parametrize("stops", [True, False])
def test_an_exit_is_judged_after_the_signal_of_a_stop(
    fleet: Any,  # noqa: ANN401
    caplog: pytest.LogCaptureFixture,
    stops: bool,
) -> None:
    _watched(fleet, 0)
    assert fleet.interrupt_children == [0]
    assert caplog.records == []
    # The main thread runs its handler before it looks at the worker.
    fleet.interrupt_signal = stops
    fleet._stop_workers()
    assert [record.getMessage() for record in caplog.records] == (
        [] if stops else ["Unexpected exit from worker-1"]
    )
    assert fleet.interrupt_children == ([] if stops else [0])


def test_a_reload_is_granians_own(fleet: Any) -> None:  # noqa: ANN401
    fleet._respawn_workers([0, 1], None, None, 3.5)
    assert fleet.respawned == [0, 1]


def test_it_gives_up_with_a_status(fleet: Any) -> None:  # noqa: ANN401
    for _ in range(2):
        fleet.wrks[0] = Worker(0, 1)
        fleet._respawn_workers([0], None, None)
    assert fleet.respawned == [0]
    assert fleet.interrupt_signal
    assert fleet.interrupt_children == [0]


def test_granians_own_rule_is_off(fleet: Any) -> None:  # noqa: ANN401
    fleet.respawned_wrks[0] = time.monotonic()
    assert fleet.respawned_wrks.get(0, 0) == 0


def test_whatever_happens_the_workers_end(fleet: Any) -> None:  # noqa: ANN401
    with pytest.raises(RuntimeError, match="a bug"):
        fleet._serve_loop()
    assert fleet.exits == [1]


def test_a_host_that_denies_a_process_is_named(fleet: Any) -> None:  # noqa: ANN401
    with pytest.raises(VerveError, match=r"denies this user another process or thread.*ulimit -u"):
        fleet._spawn_workers(None, None)


def test_a_death_does_not_shorten_another_workers_pause(
    fleet: Any,  # noqa: ANN401
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses = {0: 0.2, 1: 0.0}
    monkeypatch.setattr(fleet.restart_policy, "pause_after", lambda worker, *_: pauses[worker])
    fleet.wrks = [Worker(0, -6), Worker(1)]

    def die() -> None:
        time.sleep(0.05)
        fleet.wrks[1] = Worker(1, -9)
        fleet.main_loop_interrupt.set()

    threading.Thread(target=die).start()
    begun = time.monotonic()
    fleet._respawn_workers([0], None, None)
    assert fleet.respawned == [1, 0]
    assert time.monotonic() - begun >= 0.2


def test_a_stop_during_a_pause_is_prompt_and_no_failure(
    fleet: Any,  # noqa: ANN401
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fleet.restart_policy, "pause_after", lambda *_: 60)
    fleet.wrks = [Worker(0, -6), Worker(1)]

    def stop() -> None:
        time.sleep(0.05)
        fleet.interrupt_signal = True
        fleet.main_loop_interrupt.set()

    threading.Thread(target=stop).start()
    fleet._respawn_workers([0], None, None)
    assert fleet.respawned == []
    assert fleet.interrupt_children == []


def test_connections_end_with_their_answers_before_a_stop(
    fleet: Any,  # noqa: ANN401
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervisor, "REPEAT_SECONDS", 0.01)
    retired: list[int] = []

    def retire(worker: Worker) -> None:
        assert not worker.told.acquire(blocking=False)
        retired.append(worker.idx)

    monkeypatch.setattr(supervisor, "_retire", retire)
    fleet._stop_workers()
    assert retired == [0, 1]


def test_one_that_does_not_hear_is_told_again(
    fleet: Any,  # noqa: ANN401
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervisor, "REPEAT_SECONDS", 0.01)
    fleet._stop_workers()


def test_workers_learn_who_starts_them_again(
    fleet: Any,  # noqa: ANN401
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "environ", {})
    fleet.respawn_failed_workers = False
    fleet.startup(None, None)
    assert os.environ == {}
    fleet.respawn_failed_workers = True
    fleet.startup(None, None)
    assert os.environ == {SUPERVISOR: str(os.getpid())}
    assert fleet.startups == 2
