"""The port of a store: what the service asks of whatever keeps the ids of all hosts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

from verve._verve import VerveError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

T = TypeVar("T")

_SHOWN = 100
SHARDS = 16
"""Parts of a window, so that it can be spread over the nodes of a Redis Cluster."""
MARKER_BYTES = 9
"""Length of a marker, by which it is told from the 8 bytes of an id."""
RETENTION_SECONDS = 86_400
"""How long the state of a window is kept after its end; its ids for that long at the most."""


class FailureKind(StrEnum):
    """What kept the store from answering, in one word for metrics and readiness."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    TLS = "tls"
    AUTHENTICATION = "authentication"
    AUTHORIZATION = "authorization"
    FULL = "full"
    READ_ONLY = "read-only"
    LOADING = "loading"
    OTHER = "other"


class StoreError(VerveError):
    """The store did not do it, or cannot tell; whatever was asked may be asked again."""

    def __init__(self, message: str, kind: FailureKind = FailureKind.OTHER) -> None:
        super().__init__(message)
        self.kind = kind


def parse_reply(read: Callable[[], T], answer: object) -> T:
    """What `read` makes of an answer. Raises `StoreError` if it is none that could be given."""
    try:
        return read()
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        shown = ascii(answer)[:_SHOWN]
        raise StoreError(
            f"Redis: an answer that makes no sense: `{shown}`; "
            "hint: see what answers at `VERVE_REDIS_URL`, or stands between"
        ) from error


def field_pairs(fields: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    """Fields and their values, as a hash and a sorted set give them; for `parse_reply`."""
    found = list(zip(fields[::2], fields[1::2], strict=True))
    if not all(isinstance(word, bytes) for pair in found for word in pair):
        raise TypeError
    return found


@dataclass(frozen=True, slots=True)
class StoreCount:
    """What the store holds of a window: distinct ids, and the markers that are in every shard."""

    ids: int
    markers: frozenset[bytes]


@runtime_checkable
class Store(Protocol):
    """Keeps the ids of each window, of all hosts. Used from one event loop.

    `groups` has members by shard, each the 8 bytes of an id, little-endian. Every call ends by a
    deadline of its own, and raises `StoreError` when it may not have been done.
    """

    @property
    def name(self) -> str:
        """Its name in `VERVE_REDIS_STRATEGY`."""
        ...

    async def add(self, window_start: int, groups: Mapping[int, Sequence[bytes]]) -> None:
        """Add ids to a window; it is safe to repeat."""

    async def mark(self, window_start: int, marker: bytes) -> None:
        """Add a marker (`MARKER_BYTES` long) to every shard of a window."""

    async def count(self, window_start: int, markers: Collection[bytes]) -> StoreCount:
        """Count a window's ids. `markers` are all that may be among them."""
        ...

    async def epochs(self) -> str:
        """A word that changes with every restart and failover of a master that keeps ids."""
        ...

    async def close(self) -> None:
        """Close the connections."""
