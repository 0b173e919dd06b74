"""`verve drain` against a segment in which this process plays the worker."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from tests.support import rig
from verve import config
from verve.commands import drain
from verve.commands.cli import main
from verve.service.drain import Drain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from verve import Counter

START = 7


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for row in config.TABLE.values():
        monkeypatch.delenv(row.variable, raising=False)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Counter]:
    with rig.counter_of(rig.settings(tmp_path)) as made:
        Drain(made, START).announce()
        yield made


class Clock:
    """Moves when the command sleeps; then `at_sleep` may act."""

    def __init__(self, at_sleep: Callable[[float], object] = lambda _: None) -> None:
        self.now = 0.0
        self._at_sleep = at_sleep

    def __call__(self) -> float:
        """Seconds since its start."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Move on."""
        self.now += max(seconds, 0.001)
        self._at_sleep(self.now)


def _run(tmp_path: Path, *arguments: str) -> Result:
    place = ["--segment", str(tmp_path / "segment"), "--state-dir", str(tmp_path / "state")]
    return CliRunner().invoke(main, ["drain", *place, *arguments])


def _wait(counter: Counter, clock: Clock, timeout: float = 60) -> float:
    drain.wait_until_drained(counter, START, timeout, clock=clock, sleep=clock.sleep)
    return clock.now


def _aware(counter: Counter, *, batches: int = 0, waits: int = 0) -> None:
    counter.worker_figures.set("open_batches", batches)
    counter.worker_figures.set("store_waits", waits)
    counter.worker_figures.set("draining", 1)


def test_drain_and_undo(worker: Counter, tmp_path: Path) -> None:
    steps = [
        (("--undo",), "the service does not drain", 0),
        ((), "the service drains: it counts, and is not ready for more requests", START),
        ((), "the service drains already", START),
        (("--undo",), "the service is ready again", 0),
        (("--undo",), "the service does not drain", 0),
    ]
    for arguments, message, drained in steps:
        done = _run(tmp_path, *arguments)
        assert (done.exit_code, done.stdout, done.stderr) == (0, "", f"{message}\n")
        assert worker.drain.drained() == drained


def test_undo_leaves_the_drain_of_an_earlier_start(worker: Counter, tmp_path: Path) -> None:
    assert worker.drain.begin(START - 1)
    assert _run(tmp_path, "--undo").stderr == "the service does not drain\n"
    assert _run(tmp_path).exit_code == 0
    assert worker.drain.drained() == START


def test_without_a_service(tmp_path: Path) -> None:
    def refused() -> None:
        for arguments in ((), ("--undo",), ("--wait",)):
            done = _run(tmp_path, *arguments)
            assert (done.exit_code, done.stdout) == (1, "")
            problem = f"error: no service counts in this segment: `{tmp_path / 'segment'}`\n"
            assert done.stderr.startswith(f"{problem}  hint: ")

    refused()
    with rig.counter_of(rig.settings(tmp_path)) as counter:
        refused()  # a program counts there, and no service
        Drain(counter, START).announce()
        assert _run(tmp_path).exit_code == 0
    refused()  # the service has ended


def test_a_file_that_is_no_segment(tmp_path: Path) -> None:
    (tmp_path / "segment").write_text("no segment", encoding="utf-8")
    done = _run(tmp_path)
    assert done.exit_code == 1
    assert "no service" not in done.stderr
    assert str(tmp_path / "segment") in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("--undo", "--wait"),
        ("--timeout", "5"),
        ("--wait", "--timeout", "0"),
        ("--timeout", "x"),
        ("--wait", "--timeout", "nan"),
    ],
)
@pytest.mark.usefixtures("worker")
def test_options_that_do_not_go_together(arguments: tuple[str, ...], tmp_path: Path) -> None:
    assert _run(tmp_path, *arguments).exit_code == 2


def test_a_quiet_service_is_drained_after_two_seconds(worker: Counter) -> None:
    assert worker.drain.begin(START)
    _aware(worker)
    assert 2 <= _wait(worker, Clock()) < 2.2


def test_accepts_start_the_two_seconds_again(worker: Counter) -> None:
    def accept(now: float) -> None:
        if now < 5:
            worker.add(7)

    assert worker.drain.begin(START)
    _aware(worker)
    assert 6.9 < _wait(worker, Clock(accept)) < 7.2


@pytest.mark.parametrize("open_", [{"batches": 1}, {"waits": 1}])
def test_what_is_open_starts_the_two_seconds_again(open_: dict[str, int], worker: Counter) -> None:
    assert worker.drain.begin(START)
    _aware(worker, **open_)
    clock = Clock(lambda now: _aware(worker) if now >= 5 else None)
    assert 6.9 < _wait(worker, clock) < 7.2


@pytest.mark.parametrize(
    ("batches", "waits", "found"),
    [
        (1, 0, "1 batch is open"),
        (2, 1, "2 batches are open, 1 request waits for the store"),
        (0, 3, "3 requests wait for the store"),
    ],
)
def test_what_is_open_after_the_timeout(
    batches: int, waits: int, found: str, worker: Counter
) -> None:
    assert worker.drain.begin(START)
    _aware(worker, batches=batches, waits=waits)
    with pytest.raises(drain.DrainError, match=f"not drained after 10 s: {found}; hint: "):
        _wait(worker, Clock(), 10)


def test_accepts_after_the_timeout(worker: Counter) -> None:
    assert worker.drain.begin(START)
    _aware(worker)
    with pytest.raises(drain.DrainError, match=re.escape("it accepted ids 0.0 s ago; hint")):
        _wait(worker, Clock(lambda _: worker.add(7)), 10)
    with pytest.raises(drain.DrainError, match="it has not been quiet for 2 s yet; hint"):
        _wait(worker, Clock(), 1)


def test_a_worker_that_does_not_report_may_have_something_open(worker: Counter) -> None:
    assert worker.drain.begin(START)
    with pytest.raises(drain.DrainError, match="1 worker does not report"):
        _wait(worker, Clock(), 10)


def test_without_workers_nothing_is_known(worker: Counter) -> None:
    assert worker.drain.begin(START)
    _aware(worker)
    worker.worker_figures.set("serving", 0)
    with pytest.raises(drain.DrainError, match="no worker runs"):
        _wait(worker, Clock(), 10)


def test_a_drain_that_ends_while_the_command_waits(worker: Counter) -> None:
    assert worker.drain.begin(START)
    with pytest.raises(drain.DrainError, match="`verve drain --undo` ended the drain"):
        _wait(worker, Clock(lambda _: worker.drain.end()))
    assert worker.drain.begin(START)
    with pytest.raises(drain.DrainError, match="the service was started again"):
        _wait(worker, Clock(lambda _: Drain(worker, START + 1).announce()))


def test_another_service_and_programs_do_not_count(worker: Counter, tmp_path: Path) -> None:
    with (
        rig.counter_of(rig.settings(tmp_path)) as older,
        rig.counter_of(rig.settings(tmp_path)) as it,
    ):
        # A worker of an older service comes back after the newest has started.
        Drain(older, START - 1).announce()
        assert _run(tmp_path).exit_code == 0
        assert worker.drain.drained() == START
        _aware(worker)
        _aware(older, batches=1)

        def accept(_: float) -> None:
            older.add(7)
            it.add(8)

        assert 2 <= _wait(worker, Clock(accept)) < 2.2


def test_a_service_that_ends_while_the_command_waits(worker: Counter, tmp_path: Path) -> None:
    with rig.counter_of(rig.settings(tmp_path)) as command:
        assert command.drain.begin(START)
        with pytest.raises(drain.DrainError, match="the service has ended"):
            _wait(command, Clock(lambda _: worker.drain.leave()))
        # The same process may start workers again: they do not drain.
        Drain(worker, START).announce()
        assert not Drain(worker, START).is_on()


def test_a_newer_service_that_drains_while_the_command_waits(
    worker: Counter, tmp_path: Path
) -> None:
    assert worker.drain.begin(START)
    with rig.counter_of(rig.settings(tmp_path)) as newer:
        Drain(newer, START + 1).announce()
        with pytest.raises(drain.DrainError, match="a newer start of the service drains"):
            _wait(worker, Clock(lambda _: newer.drain.begin(START + 1)))
