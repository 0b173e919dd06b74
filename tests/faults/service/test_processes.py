"""Workers that cannot start: for want of threads, or since they abort each time."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.service import Server, Service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Serve

FEW = 10
"""Processes and threads: enough for the supervisor, too few for the threads of its workers."""

# RLIMIT_NPROC does not bind root, so the service runs as another user. The capability lets that
# user read the interpreter and the packages, which may be in root's home.
_READS = "-all,+dac_read_search"
_LIMITED = (
    *("prlimit", f"--nproc={FEW}", "setpriv", "--clear-groups"),
    *(f"--bounding-set={_READS}", f"--inh-caps={_READS}", f"--ambient-caps={_READS}"),
)

# Workers are forks of the supervisor.
_ABORTING = """
import os, signal

def abort_soon():
    signal.signal(signal.SIGALRM, lambda *_: os.abort())
    signal.setitimer(signal.ITIMER_REAL, 0.2)

os.register_at_fork(after_in_child=abort_soon)
"""


@pytest.fixture
def user() -> int:
    """A user of nobody, with no processes."""
    if os.geteuid() != 0:
        pytest.skip("only root may become another user")
    return 40_000 + os.getpid() % 20_000


@pytest.fixture
def theirs(user: int) -> Iterator[Path]:
    """A directory of that user's."""
    path = Path(tempfile.mkdtemp(prefix="verve-test-"))
    os.chown(path, user, user)
    yield path
    shutil.rmtree(path)


def test_a_service_without_threads_says_so_and_ends(user: int, theirs: Path) -> None:
    # As much as it has to write itself.
    (theirs / "state").mkdir()
    os.chown(theirs / "state", user, user)
    command = [*_LIMITED, f"--reuid={user}", f"--regid={user}"]
    service = Service(theirs, Server.VERVE, workers=2, window=3600, command=command)
    try:
        service.start(ready=False)
        assert service.wait_end(15) == 1
        assert "ulimit -u" in service.output()
        assert "Traceback" not in service.output()
        assert len(service.events("worker.respawned")) <= 8
        assert service.processes() == []
    finally:
        service.close()


def test_workers_that_abort_at_their_start_are_given_up(serve: Serve, tmp_path: Path) -> None:
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(_ABORTING)
    service = serve(
        Server.VERVE, workers=2, window=3600, start=False, environment={"PYTHONPATH": str(hook)}
    )
    begun = time.monotonic()
    service.start(ready=False)
    assert service.wait_end(20) == 1
    # Both paused for 1.5 s in all, whatever the other did.
    assert time.monotonic() - begun > 1.5
    (failed,) = service.events("worker.failed")
    assert failed["exit_status"] == "signal 6"
    assert 4 <= len(service.events("worker.respawned")) <= 9
    assert service.processes() == []
