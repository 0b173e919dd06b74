"""Settings, counters with a clock and windows, for unit tests of the package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verve import Counter, ManualClock, config
from verve._verve import boot_nanoseconds
from verve.ledger.ledger import Receipt
from verve.windows.window import Window

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from verve.config import Settings
    from verve.ledger.ledger import Ledger
    from verve.windows.window import Key

MINUTE = 1_800_000_000 - 1_800_000_000 % 60
"""The start of a window of 60 seconds."""


def settings(directory: Path, **flags: str) -> Settings:
    """Settings with all files under `directory`. The environment is ignored."""
    files = {"state_dir": str(directory / "state"), "segment": str(directory / "segment")}
    return config.load({**files, "max_ids_per_window": "10000", **flags}, {})


def counter_of(
    made: Settings, clock: ManualClock | None = None, *, seed: int | None = None
) -> Counter:
    """A counter with these settings."""
    return Counter(
        made.segment,
        window=made.window,
        max_ids=made.max_ids_per_window,
        cluster=made.cluster,
        state_directory=str(made.state_dir),
        clock=clock,
        seed=seed,
    )


def no_wait(
    _condition: threading.Condition, predicate: Callable[[], bool], _seconds: float
) -> bool:
    """The `wait_for` of a clock in a test of one thread, in which nothing happens meanwhile."""
    return predicate()


def clock_in_minute() -> ManualClock:
    """A clock that stands at one second after the start of `MINUTE`.

    Its boot is that of the machine: who opens the segment by the system's clock goes on there.
    """
    return ManualClock(wall=MINUTE + 1.0, boot=boot_nanoseconds() / 1e9)


def window(number: int = 0, unique: int = 1, **figures: int | bool) -> Window:
    """The window `number` minutes after `MINUTE`."""
    return Window(
        window_start=MINUTE + 60 * number,
        window_seconds=60,
        unique=unique,
        **figures,  # type: ignore[arg-type]
    )


def mark_taken(opened: Ledger, sink: str, keys: Iterable[Key], taken_at: float) -> None:
    """Note that `sink` took the newest revision of these windows."""
    opened.record([], taken={(sink, key): Receipt(taken_at, 2**62) for key in keys})
