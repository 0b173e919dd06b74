"""The ports of the cluster code: Redis, the receiver of its counts, the lease of the leader."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    from verve.config import Settings
    from verve.stores.base import Store
    from verve.windows.window import Key, Window

    from .cluster_window import ClusterWindow


class Client(Protocol):
    """Redis. Every call ends by a deadline of its own, and raises `StoreError` if it failed."""

    masters: str
    """Replication ids of the masters, as of the last `epochs` of the store."""

    async def run(self, script: str, keys: Sequence[str], args: Sequence[bytes | str | int]) -> Any:  # noqa: ANN401 - what Redis answers
        """Run a script. All keys are in one slot; strings in the answer are bytes."""

    async def time_microseconds(self) -> int:
        """The time of one fixed primary, since the epoch."""
        ...

    async def close(self) -> None:
        """Close the connections."""


Connect: TypeAlias = Callable[["Settings"], "tuple[Client, Store]"]
"""Gives the client of Redis and the store. Both belong to the event loop that runs it."""


class Feed(Protocol):
    """Takes the counts of the cluster for the ledger and the sinks. Only `add` never blocks."""

    def add(self, window: ClusterWindow) -> None:
        """Add a revision of a window; it may come again, or later with `delivers`."""

    def known(self) -> Sequence[Window]:
        """The windows of the ring that the ledger holds, newest first."""
        ...

    def is_delivered(self, key: Key, revision: int) -> bool:
        """Whether all sinks of scope `CLUSTER` took this revision or a higher one from here."""
        ...


class Lease(Protocol):
    """One term of leadership."""

    @property
    def term(self) -> int:
        """Its number. Of two leaders of a host the later one has the higher number."""
        ...

    def holds(self) -> bool:
        """Whether this term is the current one."""
        ...
