from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the policy")

# The policies of a thread from before, of the main thread, and of one from after.
PROGRAM = """
import json, os, sys, threading
from verve.service.batch_scheduling import schedule_in_batches

def run(chosen):
    if chosen != "none":
        os.sched_setscheduler(0, getattr(os, chosen), os.sched_param(0))
    policies, told, tell = [], threading.Event(), threading.Event()

    def early():
        tell.set()
        told.wait()
        policies.append(os.sched_getscheduler(0))

    thread = threading.Thread(target=early)
    thread.start()
    tell.wait()
    schedule_in_batches()
    told.set()
    thread.join()
    policies.append(os.sched_getscheduler(0))
    thread = threading.Thread(target=lambda: policies.append(os.sched_getscheduler(0)))
    thread.start()
    thread.join()
    return policies

print(json.dumps([run(sys.argv[1]), [os.SCHED_BATCH, os.SCHED_IDLE]]))
"""


def policies(chosen: str) -> tuple[list[int], int, int]:
    """Of the threads of a process, and the numbers of two policies."""
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, chosen], check=True, stdout=subprocess.PIPE, timeout=60
    )
    found, (batch, idle) = json.loads(ran.stdout)
    return found, batch, idle


def test_all_threads_are_scheduled_in_batches() -> None:
    found, batch, _ = policies("none")
    assert found == [batch] * 3


def test_a_policy_that_somebody_chose_stays() -> None:
    found, _, idle = policies("SCHED_IDLE")
    assert found == [idle] * 3
