"""Ending tasks that use redis-py."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_ROUNDS = 20
_ROUND_SECONDS = 0.05


async def cancel_all(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks, and wait for them, a second at the most.

    Not once: redis-py takes a cancellation that meets the end of one of its pipelines for its own.
    """
    pending = {task for task in tasks if not task.done()}
    for _ in range(_ROUNDS):
        if not pending:
            return
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_ROUND_SECONDS)
