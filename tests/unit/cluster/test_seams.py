"""The cluster code and publishing take time, chance and threads from outside, for simulations."""

from __future__ import annotations

import re

import pytest

from tests.support.paths import ROOT

OWN = r"\btime\.(time|monotonic|sleep)|\brandom\.|urandom|\buuid|\bsecrets\.|gethostname"
THREADS = r"to_thread|Executor|threading\.(Thread|Timer)\("


@pytest.mark.parametrize(
    ("names", "homes"),
    [
        (OWN, {"cluster/runtime/machine.py"}),
        (
            THREADS,
            {
                "cluster/runtime/machine.py",
                # The bodies of these threads are loops and steps, which a simulation runs itself.
                "cluster/runtime/event_loop.py",
                "cluster/replication/sender.py",
                "publishing/task.py",
                # The end of a process whose server is gone.
                "publishing/leader.py",
            },
        ),
    ],
    ids=["clocks and chance", "threads"],
)
def test_clocks_chance_and_threads_come_from_outside(names: str, homes: set[str]) -> None:
    package = ROOT / "python/verve"
    files = [*package.glob("cluster/**/*.py"), *package.glob("publishing/**/*.py")]
    found = {
        path.relative_to(package).as_posix() for path in files if re.search(names, path.read_text())
    }
    assert found == homes
