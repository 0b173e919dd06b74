"""Verve counts distinct 64-bit ids per minute, exactly, over all processes of a host.

As a library, `Counter` counts in memory or in a file that many processes share:

    from verve import Counter

    with Counter("/dev/shm/example") as counter:
        counter.add(7)             # True: new in the current minute
        counter.add_many([7, 8])   # 1: one of them was new
        counter.count()            # 2
        counter.seal()             # closes the window now; WindowRecord(..., unique=2)

`distinct` counts the ids of any span of an archive, exactly:

    verve.distinct("/srv/verve/ids", 1_796_040_000, 1_796_043_600).distinct

As a service, `verve serve` answers `GET /api/verve/accept?id=7` from as many worker processes as it
is told to, and logs `Unique requests in the last minute: <count>` every minute.

Where to read on: the folders are the stages that a closed window passes. `_verve` holds the
counter (`rust/core` says what is exact), `config` the settings, `startup` how a worker gets its
counter, `service` what a worker holds, `http` what it answers, `publishing` how a minute is closed,
`ledger` where it is kept, `sinks` where it goes, `cluster` how hosts count as one, `serving` the
processes of `verve serve`, `commands` the command line. `docs/architecture.md` is the map.
"""

from __future__ import annotations

from . import platforms

platforms.check()

from ._verve import (  # noqa: E402 - only where there is such a module
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

# Not of `typing`, whose import a health check would wait for.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from .archive.query.library import distinct

    __version__: str

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
    "distinct",
    "segment_identity",
]


def __getattr__(name: str) -> object:
    """Import what is seldom asked for, and slow, when somebody asks for it."""
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415 - see above

        # Kept: it is read from a file, for which a process may later have no descriptor.
        found = globals()[name] = version("verve-counter")
        return found
    if name == "distinct":
        from .archive.query.library import distinct  # noqa: PLC0415 - see above

        return distinct
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
