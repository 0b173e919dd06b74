"""The process that writes the archive: started again when it ends, gone when its leader is."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from verve.archive.leader import writer_process
from verve.archive.leader.writer_process import WriterProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ECHO = (
    "import json, os, sys\n"
    "options = json.loads(sys.stdin.readline())\n"
    "print(json.dumps({'options': options, 'pid': os.getpid()}), flush=True)\n"
    "for line in sys.stdin:\n"
    "    print(json.dumps({'woken': True}), flush=True)\n"
)


def wait_for(met: Callable[[], object]) -> None:
    """Wait until something holds."""
    end = time.monotonic() + 20
    while not met():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_it_is_watched_woken_and_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_process, "COMMAND", (sys.executable, "-c", ECHO))
    told: list[Mapping[str, Any]] = []
    writer = WriterProcess({"archive": "somewhere"}, told.append)
    writer.wake()
    assert writer.watch()
    assert not writer.watch()
    wait_for(lambda: told)
    assert told[0]["options"] == {"archive": "somewhere"}
    writer.wake()
    wait_for(lambda: {"woken": True} in told)
    os.kill(told[0]["pid"], signal.SIGKILL)
    wait_for(writer.watch)
    wait_for(lambda: sum("pid" in one for one in told) == 2)
    writer.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(told[-1]["pid"], 0)
    writer.stop()


def test_one_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    deaf = "import signal, time\nprint('{}', flush=True)\ntime.sleep(100)"
    monkeypatch.setattr(writer_process, "COMMAND", (sys.executable, "-c", deaf))
    told: list[Mapping[str, Any]] = []
    writer = WriterProcess({}, told.append)
    writer.watch()
    wait_for(lambda: told)
    for _ in range(100_000):
        writer.wake()  # more than the pipe takes
    writer.stop()
