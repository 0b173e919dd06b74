"""How a process of the archive gets out of the way of the service."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

__all__ = ["ONE_THREAD", "step_back"]

ONE_THREAD = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TOKIO_WORKER_THREADS": "1",
}
"""Read when the libraries are loaded: one thread each, and memory goes back to the system."""


def step_back() -> None:
    """Take processor and disk only when nothing else wants them, and be the first to be killed."""
    with contextlib.suppress(OSError):
        os.nice(19)
    with contextlib.suppress(OSError, AttributeError):
        # The kernel takes the class of disk accesses from it, too.
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
