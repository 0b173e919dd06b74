"""What the parts of the protocol are made of, for one term of a leader."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, TypeAlias

from verve.cluster.protocol.loss_detector import LossDetector, RecentRecords
from verve.cluster.protocol.markers import Markers
from verve.cluster.protocol.record_committer import RecordCommitter
from verve.cluster.redis_state.changes import Changes
from verve.cluster.redis_state.hosts import HostInfo, HostTable
from verve.cluster.redis_state.keys import Keys
from verve.cluster.redis_state.window_state import WindowStates
from verve.cluster.spill.spills import Spills

from .event_counts import EventCounts

if TYPE_CHECKING:
    from verve._verve import Counter
    from verve.cluster.interfaces import Client, Feed, Lease, Notices
    from verve.config import Settings
    from verve.stores.base import Store

PLACES = 8
"""Old windows that look at Redis at once."""

Connect: TypeAlias = Callable[["Settings"], "tuple[Client, Store]"]
"""Gives the client of Redis and the store, on the loop that they are used from."""


@dataclass(slots=True)
class Parts:
    """What the windows of a leader share."""

    counter: Counter
    settings: Settings
    term: int
    client: Client
    store: Store
    states: WindowStates
    host_table: HostTable
    changes: Changes
    watch: LossDetector
    records: RecentRecords
    markers: Markers
    committer: RecordCommitter
    spills: Spills
    feed: Feed
    notices: EventCounts
    # A long send of an old window must not hold up that of the newest.
    lane_of_new: asyncio.Lock = field(default_factory=asyncio.Lock)
    lane_of_old: asyncio.Lock = field(default_factory=asyncio.Lock)
    # Nor may many old windows, that all look at Redis, keep the heartbeat from its turn.
    places_of_old: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(PLACES))

    async def close(self) -> None:
        """Close the connections."""
        await self.store.close()
        await self.client.close()


def assemble(  # noqa: PLR0913, PLR0917 - what comes from outside
    counter: Counter,
    settings: Settings,
    lease: Lease,
    feed: Feed,
    notices: Notices,
    connect: Connect,
) -> Parts:
    """The parts of a leader's term, on the running loop."""
    client, store = connect(settings)
    tallied = EventCounts(notices)
    identity = counter.stats()["identity"]
    keys = Keys(settings.cluster, settings.window)
    states = WindowStates(client, keys)
    host_table = HostTable(
        client, keys, HostInfo(identity, socket.gethostname(), version("verve-counter"))
    )
    changes = Changes(client, keys)
    watch = LossDetector(tallied)
    grace_ms = settings.cluster_grace * 1_000
    return Parts(
        counter=counter,
        settings=settings,
        term=lease.term,
        client=client,
        store=store,
        states=states,
        host_table=host_table,
        changes=changes,
        watch=watch,
        records=RecentRecords(),
        markers=Markers(identity, lease.term),
        committer=RecordCommitter(states, store, host_table, changes, watch, tallied, grace_ms),
        spills=Spills(settings, identity, tallied),
        feed=feed,
        notices=tallied,
    )
