from __future__ import annotations

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.support import logged, rig
from verve.ledger import ledger
from verve.ledger.lock_holder import parent_and_state
from verve.publishing.leader import Leader
from verve.publishing.term import Term

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from verve.config import Settings

pytestmark = pytest.mark.alone(reason="judges when it publishes")


@pytest.fixture
def quick(tmp_path: Path) -> Settings:
    return rig.settings(tmp_path, window="1")


def _until(met: Callable[[], object], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[tuple[int, int]]]]:
    """The log lines of windows so far: start and count."""

    def found() -> list[tuple[int, int]]:
        return [
            (fields["window_start"], fields["unique"])
            for record in list(caplog.records)
            if record.__dict__.get("verve_event") == "window.published"
            and (fields := record.__dict__["verve_fields"])
        ]

    with caplog.at_level("INFO", logger="verve"):
        yield found


def test_every_window_is_published_right_after_its_end(
    quick: Settings, caplog: pytest.LogCaptureFixture, lines: Callable[[], list[tuple[int, int]]]
) -> None:
    with rig.counter_of(quick) as counter:
        leader = Leader(counter, quick)
        leader.start()
        _until(lambda: len(lines()) >= 3)
        _until(lambda: leader.state().ledger_lag == 0)
        state = leader.state()
        leader.stop()
        assert counter.lease.holder() is None
    assert state.term == 1
    assert (state.log_lag, state.ledger_attempts, state.ledger_error) == (0, 0, None)
    assert [sink.sink for sink in state.sinks] == ["log"]
    stored = ledger.rows(ledger.path_of(quick))[::-1]
    assert [window.as_json()["window_start"] for window in stored][:3] == [
        start for start, _ in lines()[:3]
    ]
    starts = [window.window_start for window in stored]
    assert starts == [*range(starts[0], starts[0] + len(starts))]
    published = logged.records(caplog, "window.published")
    # The best of them: the machine may be busy. A leader that is late is so each time.
    assert min(record.created % 1 for record in published) < 0.5


def test_stop_ends_all_threads(quick: Settings) -> None:
    before = {thread.ident for thread in threading.enumerate()}
    with rig.counter_of(quick) as counter:
        leader = Leader(counter, quick)
        leader.start()
        _until(lambda: leader.state().term is not None)
        leader.stop()
        leader.stop()
    left = [t for t in threading.enumerate() if t.ident not in before and t.name != "verve-notices"]
    assert left == []


def test_the_lead_passes_on_and_no_window_is_lost(
    quick: Settings, lines: Callable[[], list[tuple[int, int]]]
) -> None:
    with rig.counter_of(quick) as first, rig.counter_of(quick) as second:
        leaders = [Leader(first, quick), Leader(second, quick)]
        for leader in leaders:
            leader.start()
        _until(lines)
        assert [leader.state().term for leader in leaders].count(None) == 1
        leads = next(leader for leader in leaders if leader.state().term)
        follows = next(leader for leader in leaders if leader is not leads)
        leads.stop()
        _until(lambda: (follows.state().term or 0) >= 2)
        count = len(lines())
        _until(lambda: len(lines()) >= count + 2)
        follows.stop()
    starts = [start for start, _ in lines()]
    assert len(set(starts)) == len(starts)
    assert starts == sorted(starts)
    stored = ledger.rows(ledger.path_of(quick))
    assert len(stored) >= len(starts) - 1
    numbers = [window.window_start for window in stored][::-1]
    assert numbers == [*range(numbers[0], numbers[0] + len(numbers))]


@pytest.mark.parametrize("keeps", [True, False])
def test_who_leads_decides_whether_arenas_are_kept(
    tmp_path: Path, keeps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a leader with an archive frees them again, and one without an archive never would."""
    monkeypatch.setattr(Term, "_start_archive", lambda *_: None)
    archive = {"archive": str(tmp_path / "ids")} if keeps else {}
    settings = rig.settings(tmp_path, **archive)
    clock = rig.clock_in_minute()
    with rig.counter_of(settings, clock) as counter:
        counter.add(1)
        clock.advance(60)
        counter.maintenance.run()
        if not keeps:
            counter.retention.enable()  # an earlier service had an archive
            counter.add(2)
            clock.advance(60)
            counter.maintenance.run()
            assert counter.retention.kept()
        leader = Leader(counter, settings)
        leader.step()
        leader.stop()
        assert (counter.retention.settled() != 0) == keeps
        counter.maintenance.run()
        assert counter.retention.kept() == []
        assert counter.stats()["arenas"]["free"] >= 14


def test_a_closed_counter_ends_the_thread(quick: Settings) -> None:
    counter = rig.counter_of(quick)
    leader = Leader(counter, quick)
    leader.start()
    _until(lambda: leader.state().term is not None)
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "verve-leader"]
    counter.close()
    thread.join(5)
    assert not thread.is_alive()
    leader.stop()


STUCK = """
import os, sys, time
from pathlib import Path
from tests.support import rig
from verve.log import event_log as log
from verve.publishing.leader import Leader
from verve.publishing.term import Term
settings = rig.settings(Path(sys.argv[1]), window="1")
log.configure(settings)
counter = rig.counter_of(settings)
leader = Leader(counter, settings)
leader.start()
time.sleep(4.2)
start = time.monotonic()
leader.stop()
ring = counter.ring
print(ring.newest(), ring.cursor(0), ring.cursor(1), time.monotonic() - start)
sys.stdout.flush()
os._exit(0)
"""


def test_standard_error_that_nobody_reads_holds_up_the_log_only(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    with os.fdopen(write, "wb", buffering=0) as stream:
        while stream.write(b"x" * 4096):
            pass
        os.set_blocking(write, True)
        done = subprocess.run(
            [sys.executable, "-c", STUCK, str(tmp_path)],
            check=True,
            stdout=subprocess.PIPE,
            stderr=stream,
            text=True,
            timeout=30,
        )
    os.close(read)
    published, logged, stored, seconds = done.stdout.split()
    assert logged == "0"
    assert int(stored) >= int(published) - 1
    assert float(seconds) < 10


def _worker(directory: Path) -> None:
    settings = rig.settings(directory, window="1")
    # A worker that does not heed SIGTERM, as one with a request that never ends.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    leader = Leader(rig.counter_of(settings), settings)
    leader.start()
    (directory / f"worker-{os.getpid()}").touch()
    time.sleep(60)


def _server(directory: Path, method: str) -> None:
    multiprocessing.set_start_method(method)
    multiprocessing.Process(target=_worker, args=(directory,)).start()
    time.sleep(60)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_worker_without_its_server_ends(tmp_path: Path, method: str) -> None:
    code = f"""
import sys
from pathlib import Path
from tests.unit.publishing.test_leader import _server
if __name__ == "__main__":
    _server(Path(sys.argv[1]), {method!r})
"""
    program = tmp_path / "server.py"
    program.write_text(code)
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, str(program), str(tmp_path)], env=environ) as server:
        _until(lambda: list(tmp_path.glob("worker-*")), 30)
        (name,) = tmp_path.glob("worker-*")
        worker = int(re.sub(r"\D", "", name.name))
        server.kill()
    start = time.monotonic()
    _until(lambda: _ended(worker), 20)
    assert time.monotonic() - start < 15


def _ended(process: int) -> bool:
    found = parent_and_state(process)
    return found is None or found[1] in {"Z", "X"}


def test_a_program_that_the_user_started_is_no_orphan(quick: Settings) -> None:
    with rig.counter_of(quick) as counter:
        assert not Leader(counter, quick)._is_orphan()
