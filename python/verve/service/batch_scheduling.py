"""The scheduling policy of the threads that a request passes through.

Granian's network thread hands each request to a Python thread and gets the answer back. On one
core, each of the two interrupts the other at every hand-over, unless both are scheduled in batches:
then one takes all that is ready before the other runs. `docs/decisions.md` has the figures.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

if sys.platform == "linux":

    def schedule_in_batches() -> None:
        """Set it for the threads of this process and those that they start.

        A policy that was chosen for the process stays.
        """
        for thread in Path("/proc/self/task").iterdir():
            # A thread may have ended, and a sandbox may refuse: the policy is not essential.
            with contextlib.suppress(OSError):
                if os.sched_getscheduler(int(thread.name)) == os.SCHED_OTHER:
                    os.sched_setscheduler(int(thread.name), os.SCHED_BATCH, os.sched_param(0))

else:

    def schedule_in_batches() -> None:
        """Leave it to the system: only Linux has a policy for it."""
