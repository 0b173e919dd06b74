"""The process that writes the archive: started again when it ends, gone when its leader is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
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


@pytest.mark.parametrize("denied", ["process", "thread"])
def test_a_start_that_the_host_denies_is_tried_again(
    denied: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_process, "COMMAND", (sys.executable, "-c", ECHO))
    told: list[Mapping[str, Any]] = []
    writer = WriterProcess({}, told.append)

    def deny(*_: object, **__: object) -> None:
        raise (
            BlockingIOError(11, "no process") if denied == "process" else RuntimeError("no thread")
        )

    with monkeypatch.context() as patch:
        if denied == "process":
            patch.setattr(subprocess, "Popen", deny)
        else:
            patch.setattr(threading.Thread, "start", deny)
        assert not writer.watch()
        assert not writer.watch(), "within the pause"
    assert [one["attempts"] for one in told] == [1]
    assert f"no {denied}" in told[0]["failed"]
    wait_for(writer.watch)
    assert told[1] == {"recovered": 1}
    wait_for(lambda: "pid" in told[-1])
    writer.stop()


LEADER = (
    "import json, os, subprocess, sys, time\n"
    "from verve.archive.leader.writer_process import COMMAND\n"
    "process = subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)\n"
    "forked = os.fork()\n"
    "if forked == 0:\n"
    "    os.close(1)\n"
    "    time.sleep(60)\n"
    "    os._exit(0)\n"
    "options = {'archive': sys.argv[1] + '/ids', 'state_dir': sys.argv[1], 'spool_max': 1,\n"
    "    'reserve': 0, 'cluster': '', 'in_cluster': False, 'memory': 1 << 27, 'keep': {},\n"
    "    'host': 'a', 'segment': 'a', 'leader': os.getpid()}\n"
    "process.stdin.write(json.dumps(options).encode() + b'\\n')\n"
    "process.stdin.flush()\n"
    "print(process.pid, forked, flush=True)\n"
    "os._exit(0)\n"
)


def test_it_ends_with_its_leader_though_another_process_holds_its_input(tmp_path: Path) -> None:
    """A child that the application forked has the pipe to the writer, too."""
    command = [sys.executable, "-c", LEADER, str(tmp_path)]
    found = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    writer, forked = map(int, found.stdout.split())

    def is_gone() -> bool:
        try:
            state = Path(f"/proc/{writer}/stat").read_text(encoding="ascii")
        except OSError:
            return True
        return state.rpartition(")")[2].split()[0] == "Z"

    try:
        wait_for(is_gone)
    finally:
        os.kill(forked, signal.SIGKILL)
        if not is_gone():
            os.kill(writer, signal.SIGKILL)
