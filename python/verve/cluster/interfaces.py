"""What the protocol asks of its surroundings: Redis, whoever takes the counts, the lease."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from verve.log.event_log import Event
    from verve.windows.window import Key, Window

    from .cluster_window import ClusterWindow


class Client(Protocol):
    """Redis. Every call ends by a deadline of its own, and raises `StoreError` when it failed."""

    masters: str
    """Replication ids of the masters, as of the last `epochs` of the store."""

    async def run(self, script: str, keys: Sequence[str], args: Sequence[bytes | str | int]) -> Any:  # noqa: ANN401 - what Redis answers
        """Run a script. All keys are in one slot; strings in the answer are bytes."""

    async def time_microseconds(self) -> int:
        """The time of one fixed primary, since the epoch."""
        ...

    async def close(self) -> None:
        """Close the connections."""


class Feed(Protocol):
    """Takes what the cluster counted, for the ledger and the sinks. Never waits."""

    def add(self, window: ClusterWindow) -> None:
        """Add a revision of a window; the same one may come again, or later with `delivers`."""

    def known(self) -> Sequence[Window]:
        """What the ledger holds of the windows of the ring, newest first."""
        ...

    def is_delivered(self, key: Key, revision: int) -> bool:
        """Whether all sinks of scope `CLUSTER` took this revision or a higher one from here."""
        ...


class Lease(Protocol):
    """One term of leadership."""

    @property
    def term(self) -> int:
        """Its number; of two leaders of a host the later has the higher one."""
        ...

    def holds(self) -> bool:
        """Whether this term is still that of the leader."""
        ...


class Notices(Protocol):
    """Where events go, to be logged without anybody waiting."""

    def put(self, event: Event, **values: Any) -> None:  # noqa: ANN401 - see Event.emit
        """Have an event logged soon."""
