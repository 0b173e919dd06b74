"""Everything that the hosts of a cluster share in Redis."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from .changes import Changes
from .hosts import HostTable
from .window_state import WindowStates

if TYPE_CHECKING:
    from verve.cluster.interfaces import Client
    from verve.stores.base import Store

    from .hosts import HostInfo
    from .keys import Keys


class ClusterState:
    """The ids (`store`), the states of the `windows`, the lines of the `hosts`, the `changes`."""

    def __init__(self, client: Client, store: Store, keys: Keys, info: HostInfo) -> None:
        """`info` describes this host."""
        self.client = client
        self.store = store
        self.keys = keys
        self.windows = WindowStates(client, keys)
        self.hosts = HostTable(client, keys, info)
        self.changes = Changes(client, keys)
        self.in_touch = asyncio.Event()
        """Set while Redis answers and this host may count along."""

    @property
    def own_id(self) -> str:
        """The id of this host."""
        return self.hosts.info.id

    async def close(self) -> None:
        """Close the connections. Raises `StoreError`."""
        await self.store.close()
        await self.client.close()
