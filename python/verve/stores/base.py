"""The port of a store, which keeps the ids of all hosts."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

from verve._verve import VerveError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

T = TypeVar("T")

_SHOWN = 100
_LARGEST = 10**15 - 1
_SURPRISES = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What code raises that reads an answer which is none."""
MARKER_BYTES = 9
"""Length of a marker. An id has 8 bytes."""
RETENTION_SECONDS = 86_400
"""Seconds that the state of a window is kept after its end; its ids at most as long."""


class FailureKind(StrEnum):
    """The kind of a failure of the store, in one word for metrics and readiness."""

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
    """A call of the store failed, or its result is unknown. It may be repeated."""

    def __init__(self, message: str, kind: FailureKind = FailureKind.OTHER) -> None:
        super().__init__(message)
        self.kind = kind


def parse_reply(read: Callable[[], T], answer: object) -> T:
    """The result of `read`. Raises `StoreError` if it finds the answer invalid."""
    try:
        return read()
    except _SURPRISES as error:
        raise _invalid(answer) from error


@contextlib.contextmanager
def reading_replies() -> Iterator[None]:
    """Encloses a library that reads answers. Raises `StoreError` if it finds one invalid."""
    try:
        yield
    except _SURPRISES as error:
        raise _invalid(error) from error


def _invalid(answer: object) -> StoreError:
    return StoreError(
        f"Redis: an invalid answer: `{ascii(answer)[:_SHOWN]}`; "
        "hint: see which server or proxy answers at `VERVE_REDIS_URL`"
    )


def number(word: object, most: int = _LARGEST) -> int:
    """A number of an answer, from 0 to `most`, as an integer or in digits; for `parse_reply`."""
    if isinstance(word, bytes) and word.isdigit():
        word = int(word)
    if type(word) is not int or not 0 <= word <= most:
        raise ValueError
    return word


def field_pairs(fields: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    """The fields of a hash, or members of a sorted set, with values; for `parse_reply`."""
    found = list(zip(fields[::2], fields[1::2], strict=True))
    if not all(isinstance(word, bytes) for pair in found for word in pair):
        raise TypeError
    return found


@dataclass(frozen=True, slots=True)
class StoreCount:
    """The distinct ids of a window in the store, and the markers that are in every shard."""

    ids: int
    markers: frozenset[bytes]


@runtime_checkable
class Store(Protocol):
    """Keeps the ids of each window, of all hosts. Used on one event loop.

    `groups` has members by shard, each the 8 bytes of an id, little-endian. Every call ends by a
    deadline of its own, and raises `StoreError` if it may not have been done.
    """

    @property
    def name(self) -> str:
        """The name in `VERVE_REDIS_STRATEGY`."""
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
