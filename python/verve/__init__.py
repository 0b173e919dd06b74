"""Verve counts distinct 64-bit ids per minute, exactly, over all processes of a host.

As a library, `Counter` counts in memory or in a file that many processes share:

    from verve import Counter

    with Counter("/dev/shm/example") as counter:
        counter.add(7)             # True: new in the current minute
        counter.add_many([7, 8])   # 1: one of them was new
        counter.count()            # 2
        counter.seal()             # closes the window now; WindowRecord(..., unique=2)

As a service, `verve serve` answers `GET /api/verve/accept?id=7` from as many worker processes as it
is told to, and logs `Unique requests in the last minute: <count>` every minute.

Where to read on: `_verve` holds the counter (`rust/core` says what is exact), `app` the service,
`config` the settings, `publishing` how a minute is closed and where it is kept, `sinks` where it
goes, `cluster` how hosts count as one, `commands` the command line.
"""

from __future__ import annotations

from ._verve import (
    CapacityError,
    ClosedError,
    Counter,
    IdError,
    ManualClock,
    SegmentError,
    SettingError,
    VerveError,
    WindowRecord,
    segment_identity,
)

__all__ = [
    "CapacityError",
    "ClosedError",
    "Counter",
    "IdError",
    "ManualClock",
    "SegmentError",
    "SettingError",
    "VerveError",
    "WindowRecord",
    "segment_identity",
]


def __getattr__(name: str) -> str:
    """`__version__`, from the installed distribution, when somebody asks for it."""
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415 - slow, and seldom asked for

        return version("verve-counter")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
