"""An event loop in a thread of its own, beside a server that may have another kind of tasks."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")

_THREADS_SECONDS = 1.0
"""Seconds that threads get to end. A name lookup may hang for much longer."""


def run_on_loop(main: Coroutine[Any, Any, T]) -> T:
    """Run `main`, which must end all of its tasks, on a new event loop.

    At its end `asyncio.run` looks for its own tasks among those of all loops. With Python 3.11 that
    fails while Granian has requests under `--task-impl rust`, whose tasks are incomplete. Unlike
    `asyncio.run`, this does not wait forever for the threads that looked up names.
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
            waiting.join(_THREADS_SECONDS)
            loop.close()
