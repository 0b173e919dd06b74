"""Signals that come faster than Python's handlers run."""

from __future__ import annotations

import subprocess
import sys

import pytest
from granian import _signals

_PROGRAM = """
import asyncio, ctypes, os, signal, sys
from granian import _signals

sets = []

class Event:
    def set(self):
        sets.append(1)

_signals.WorkerSignal = Event
from verve import app

async def main():
    app.app.worker.termination.listen()
    # No handler of Python runs between the calls: all of them wake the loop.
    numbers = [signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGINT]
    list(map(ctypes.CDLL(None).kill, [os.getpid()] * len(numbers), numbers))
    await asyncio.sleep(0.2)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(0.2)

if sys.argv[1] == "uvloop":
    import uvloop
    loop = uvloop.new_event_loop()
else:
    loop = asyncio.new_event_loop()
_signals.set_loop_signals(loop)
loop.run_until_complete(main())
assert app.app.worker.termination.draining
print(len(sets))
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_signals_before_the_first_handler_end_a_worker_of_granian_once(loop: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, loop],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_this_granian_looks_up_what_sets_its_signals() -> None:
    assert callable(_signals.set_loop_signals)
