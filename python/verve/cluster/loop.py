"""A loop of a thread's own, beside a server that may have another kind of tasks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


def run_on_loop(main: Coroutine[Any, Any, T]) -> T:
    """As `asyncio.run`, which at its end looks at the tasks of all loops for those of its own.

    With Python 3.11 that fails while Granian has requests under `--task-impl rust`: its tasks are
    no whole ones. `main` has to leave none behind.
    """
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(main)
    finally:
        try:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            loop.close()
