from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import rig
from verve.config import SUPERVISOR
from verve.ledger import ledger, lock_holder
from verve.ledger.lock_holder import HolderWatch, holders, parent_and_state

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.process import BaseProcess
    from multiprocessing.synchronize import Event

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux's kernel tells")


def _hold(path: Path, held: Event) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        held.set()
        time.sleep(60)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = rig.settings(tmp_path)
    ledger.open_ledger(made).close()
    return ledger.path_of(made)


@pytest.fixture
def holder(path: Path) -> Iterator[BaseProcess]:
    """A child process inside a transaction."""
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    process = context.Process(target=_hold, args=(path, held))
    process.start()
    assert held.wait(30)
    yield process
    process.kill()
    process.join()


def _stop(process: BaseProcess) -> int:
    assert process.pid is not None
    os.kill(process.pid, signal.SIGSTOP)
    while (found := parent_and_state(process.pid)) and found[1] != "T":
        time.sleep(0.01)
    return process.pid


def test_no_process_holds_it(path: Path) -> None:
    assert holders(path) == set()
    assert holders(path.with_name("nothing")) == set()
    assert holders(path, Path("/nowhere")) == set()


def test_the_holder_is_found(path: Path, holder: BaseProcess) -> None:
    assert holders(path) == {holder.pid}


def test_a_reader_is_no_holder(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT * FROM windows").fetchall()
        assert holders(path) == set()


def test_parent_and_state(holder: BaseProcess) -> None:
    assert holder.pid is not None
    assert parent_and_state(holder.pid) in {(os.getpid(), "S"), (os.getpid(), "R")}
    _stop(holder)
    assert parent_and_state(holder.pid) == (os.getpid(), "T")
    assert parent_and_state(2**22 + 1) is None


def test_a_stopped_sibling_is_killed_after_a_moment(path: Path, holder: BaseProcess) -> None:
    pid = _stop(holder)
    # The holder's parent is this process; seen from a sibling it would be the supervisor.
    watch = HolderWatch(path, os.getpid())
    assert watch.evict() is None
    time.sleep(lock_holder.STOPPED_SECONDS)
    assert watch.evict() == pid
    holder.join(10)
    assert holder.exitcode == -signal.SIGKILL
    assert holders(path) == set()


def test_a_running_holder_has_time_to_finish(path: Path, holder: BaseProcess) -> None:
    watch = HolderWatch(path, os.getpid())
    assert watch.evict() is None
    time.sleep(lock_holder.STOPPED_SECONDS)
    assert watch.evict() is None
    watch._since -= lock_holder.BUSY_SECONDS
    assert watch.evict() == holder.pid


@pytest.mark.parametrize("supervisor", [None, 1])
def test_no_other_process_is_killed(
    path: Path, holder: BaseProcess, supervisor: int | None
) -> None:
    _stop(holder)
    watch = HolderWatch(path, supervisor)
    watch.evict()
    time.sleep(lock_holder.STOPPED_SECONDS)
    assert watch.evict() is None
    assert holder.is_alive()


def test_never_itself(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        assert holders(path) == {os.getpid()}
        watch = HolderWatch(path, os.getppid())
        watch._since = -1e9
        assert watch.evict() is None


@pytest.mark.parametrize(
    ("variable", "supervisor"),
    [("", None), ("x", None), (str(os.getpid()), None), (str(os.getppid()), os.getppid())],
    ids=["none", "no number", "itself", "its parent"],
)
def test_only_under_its_own_supervisor(path: Path, variable: str, supervisor: int | None) -> None:
    assert HolderWatch.of_this_process(path, {SUPERVISOR: variable}).supervisor == supervisor
