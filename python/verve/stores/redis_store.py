"""What both strategies share: the client, and the names and the expiry of keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import RETENTION_SECONDS

if TYPE_CHECKING:
    from .client import RedisClient


class RedisStore:
    """A store in Redis; its subclasses keep the ids."""

    def __init__(
        self, client: RedisClient, cluster: str, seconds: int, keep: int = RETENTION_SECONDS
    ) -> None:
        """`seconds`: the length of a window; `keep`: seconds that ids are kept after its end."""
        self._client = client
        self._cluster = cluster
        self._seconds = seconds
        self._keep = keep

    async def epochs(self) -> str:
        """A word that changes with every restart and failover of a master."""
        return await self._client.epochs()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()
