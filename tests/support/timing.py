"""Moments within windows. Windows are aligned to the epoch."""

from __future__ import annotations

import time


def window_at(seconds: int, moment: float | None = None) -> int:
    """The start of the window of that length that contains `moment`, by default now."""
    return int((time.time() if moment is None else moment) // seconds) * seconds


def sleep_into_window(seconds: int, since_start: float) -> None:
    """Sleep until `since_start` seconds after the start of this window or of the next one."""
    since = time.time() % seconds
    time.sleep(since_start - since if since < since_start else seconds - since + since_start)


def sleep_clear_of_boundary(seconds: int, needed: float) -> None:
    """Sleep past the next boundary if it is less than `needed` seconds away."""
    left = seconds - time.time() % seconds
    if left < needed:
        time.sleep(left + 0.01)
