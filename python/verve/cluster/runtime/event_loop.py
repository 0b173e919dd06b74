"""A loop of a thread's own, beside a server that may have another kind of tasks."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")

_PATIENCE = 1.0
"""Seconds for what runs in threads to end. A resolver may hang for much longer."""


def run_on_loop(main: Coroutine[Any, Any, T]) -> T:
    """As `asyncio.run`, which at its end looks at the tasks of all loops for those of its own.

    With Python 3.11 that fails while Granian has requests under `--task-impl rust`: its tasks are
    no whole ones. `main` has to leave none behind. Nor does it wait for ever for the threads that
    the loop looked up names in.
    """
    loop = asyncio.new_event_loop()
    threads = ThreadPoolExecutor(thread_name_prefix="verve-cluster")
    loop.set_default_executor(threads)
    try:
        return loop.run_until_complete(main)
    finally:
        try:
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
            waiting = threading.Thread(target=threads.shutdown, daemon=True)
            waiting.start()
            waiting.join(_PATIENCE)
            loop.close()
