"""Ending tasks that use redis-py."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_ROUNDS = 20
_ROUND_SECONDS = 0.05


async def cancel_all(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks, and wait for them, at most a second.

    Cancelling once is not enough: redis-py swallows a cancellation at the end of one of its
    pipelines.
    """
    pending = {task for task in tasks if not task.done()}
    for _ in range(_ROUNDS):
        if not pending:
            return
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_ROUND_SECONDS)
