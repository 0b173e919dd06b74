"""The processes that `verve serve` inherits where it is process 1 of a container."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.network.ports import free_port
from verve.ledger.lock_holder import parent_and_state
from verve.serving.orphans import Orphans, inherits

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="orphans are those of Linux")

# Becomes `verve serve`, as a process that inherits, with a child that is none of its workers.
_LAUNCHER = """
import ctypes, os, sys
assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0
print(os.posix_spawnp("sleep", ["sleep", "1000"], os.environ), flush=True)
os.execv(sys.argv[1], sys.argv[1:])
"""


class Worker:
    """The part of Granian's worker that is used, of a process that ends at once."""

    def __init__(self) -> None:
        self.inner = self
        self.pid: int | None = None

    def start(self) -> None:
        """Start the process."""
        self.pid = os.posix_spawnp("true", ["true"], {})


def _wait(met: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 30
    while not met():
        assert time.monotonic() < end, f"not {what}"
        time.sleep(0.01)


def _state(pid: int) -> str | None:
    """The state of a process, such as `Z`; None if it was reaped."""
    found = parent_and_state(pid)
    return None if found is None else found[1]


def test_it_reaps_what_is_no_worker() -> None:
    """In a process of its own: here, the processes of other tests would be taken for orphans."""
    program = """
import os, time
from tests.unit.serving.test_orphans import Worker, _state, _wait
from verve.serving.orphans import Orphans
orphans = Orphans()
assert orphans.reap() == 0
worker = Worker()
orphans.spare(worker)
strangers = [os.posix_spawnp("true", ["true"], {}) for _ in range(3)]
for one in strangers:
    _wait(lambda: _state(one) == "Z", "ended")
assert orphans.reap() == 3
assert [_state(one) for one in strangers] == [None] * 3
worker.start()
_wait(lambda: _state(worker.pid) == "Z", "ended")
assert orphans.reap() == 0
assert _state(worker.pid) == "Z"
orphans.forget(worker)
assert orphans.reap() == 1
assert _state(worker.pid) is None
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_a_service_reaps_and_still_starts_its_workers_again(tmp_path: Path) -> None:
    verve = Path(sys.executable).parent / "verve"
    state, segment = tmp_path / "state", tmp_path / "segment"
    arguments = ["serve", "--workers", "2", "--port", str(free_port()), "--log-format", "json"]
    arguments += ["--state-dir", str(state), "--segment", str(segment)]
    arguments += ["--max-ids-per-window", "1000"]
    log = tmp_path / "log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [sys.executable, "-c", _LAUNCHER, verve, *arguments],
            stdout=subprocess.PIPE,
            stderr=output,
        ) as service,
    ):
        try:
            assert service.stdout is not None
            orphan = int(service.stdout.readline())
            children = Path(f"/proc/{service.pid}/task/{service.pid}/children")

            def workers() -> set[int]:
                return {int(one) for one in children.read_text().split()} - {orphan}

            _wait(lambda: log.read_text().count('"Started worker-') >= 2, "serving")
            first = workers()
            victim = min(first)
            os.kill(orphan, signal.SIGKILL)
            os.kill(victim, signal.SIGKILL)
            _wait(lambda: _state(orphan) is None, "reaped")
            _wait(lambda: len(workers() - {victim}) == 2, "started again")
            assert "worker.respawned" in log.read_text()
            assert "signal 9" in log.read_text()
        finally:
            service.send_signal(signal.SIGTERM)
            assert service.wait(30) == 0


def test_others_inherit_nothing() -> None:
    assert not inherits()
    Orphans().watch()
