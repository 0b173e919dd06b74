"""Redis by redis-py: one client for a single server, a Redis Cluster, or what sentinels watch.

All of its choices are made here, none is left to a default that a new version may change. Each call
ends by a deadline; nothing is retried below, since whoever asks knows better when to ask again. A
call that is cancelled closes its connection, so that no reply is left behind for the next.
"""

from __future__ import annotations

import asyncio
import contextlib
from hashlib import blake2b, sha1
from typing import TYPE_CHECKING, Any, TypeVar

from .address import Address, Topology
from .base import FailureKind, parse_reply
from .connection import CONNECTIONS, open_client, tls_files
from .errors import error_named, redis_errors, store_error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping, Sequence

    from verve.config import Settings

T = TypeVar("T")

CALL_SECONDS = 4.0
"""The whole of a call: waiting for a connection, making one, sending, all replies."""
_MAY_BE_REPLACED = {FailureKind.UNREACHABLE, FailureKind.TIMEOUT, FailureKind.READ_ONLY}
_TIME = "return redis.call('TIME')"


class RedisClient:
    """A client of the servers at `address`. Belongs to the event loop that it is first used on."""

    def __init__(self, address: Address, tls: Mapping[str, str] | None = None) -> None:
        """`tls`: files, by the names that redis-py has for them."""
        self.address = address
        self.masters = ""
        """Replication ids of the masters, as of the last `epochs`."""
        self.redis: Any = open_client(address, tls or {})
        # So many calls at once; the pools of sentinels and clusters would refuse more.
        self._places = asyncio.Semaphore(CONNECTIONS)
        self._stale = False
        self._looking = asyncio.Lock()

    @classmethod
    def of(cls, settings: Settings) -> RedisClient:
        """A client of what the settings name."""
        return cls(Address.parse(settings.redis_url or ""), tls_files(settings))

    async def run(self, script: str, keys: Sequence[str], args: Sequence[bytes | str | int]) -> Any:  # noqa: ANN401 - what Redis answers
        """Run a script whose keys are in one slot. Raises `StoreError`."""
        async with self.call():
            try:
                return await self.redis.evalsha(_digest(script), len(keys), *keys, *args)
            except error_named("NoScriptError"):
                return await self.redis.eval(script, len(keys), *keys, *args)

    async def run_for_each(
        self, script: str, keys: Sequence[Sequence[str]], args: Sequence[bytes | str | int]
    ) -> list[Any]:
        """Run a script once for each group of keys; it may be run twice. Raises `StoreError`."""
        if self.address.topology is Topology.CLUSTER:
            return await _all(self.run(script, group, args) for group in keys)
        words = [_bytes(arg) for arg in args]

        def commands(name: bytes, body: bytes) -> list[bytes]:
            return [
                packed(name, body, b"%d" % len(group), *(key.encode() for key in group), *words)
                for group in keys
            ]

        async with self.call():
            try:
                return await self._exchange(commands(b"EVALSHA", _digest(script).encode()))
            except error_named("NoScriptError"):
                return await self._exchange(commands(b"EVAL", script.encode()))

    async def send(self, commands: Sequence[bytes]) -> list[Any]:
        """Send commands that are packed already, and give their replies. Raises `StoreError`.

        Not for a Redis Cluster. redis-py packs an argument in a microsecond, which is most of what
        an id would take.
        """
        async with self.call():
            return await self._exchange(commands)

    async def time_microseconds(self, key: str = "verve:{time}") -> int:
        """The time of the one primary that has `key`, since the epoch. Raises `StoreError`."""
        found = await self.run(_TIME, [key], [])
        return parse_reply(lambda: int(found[0]) * 1_000_000 + int(found[1]), found)

    async def epochs(self) -> str:
        """A word that is another one after any restart or failover of a primary. `StoreError`.

        It is the same for all hosts, so no address is in it: they may know a server by other names.
        """
        async with self.call():
            found = sorted(await _all(map(self._epoch, await self._primaries())))
            self.masters = " ".join(replication_id for _, replication_id in found)
            return blake2b(repr(found).encode(), digest_size=8).hexdigest()

    async def eviction_policy(self) -> str | None:
        """What the servers do when they are full; None when they do not tell. `StoreError`."""
        async with self.call():
            policies = set()
            for node in await self._primaries():
                memory = await self._info("memory", node)
                policies.add(str(memory.get("maxmemory_policy", "")))
            return ",".join(sorted(policies)) or None

    @contextlib.asynccontextmanager
    async def call(self) -> AsyncIterator[None]:
        """Around whatever is asked of `redis`: the deadline; errors become `StoreError`."""
        try:
            # Since redis-py closes a connection whose command is cancelled, a deadline may cancel.
            async with asyncio.timeout(CALL_SECONDS), self._places:
                if self.address.topology is Topology.CLUSTER:
                    await self._know_nodes()
                yield
        except redis_errors() as error:
            failure = store_error(error, self.address)
            self._stale |= failure.kind in _MAY_BE_REPLACED
            raise failure from error

    async def close(self) -> None:
        """Close the connections."""
        with contextlib.suppress(*redis_errors()):
            async with asyncio.timeout(CALL_SECONDS):
                await self.redis.aclose()
                if self.address.topology is Topology.CLUSTER:
                    # After trouble it takes them for closed already.
                    for nodes in ("nodes_cache", "startup_nodes"):
                        await self.redis.nodes_manager.aclose(nodes)
                if self.address.topology is Topology.SENTINEL:
                    # Those to the sentinels are not closed with those to the server.
                    for sentinel in self.redis.connection_pool.sentinel_manager.sentinels:
                        await sentinel.aclose()

    async def _exchange(self, commands: Sequence[bytes]) -> list[Any]:
        """All replies, or the first error among them."""
        pool = self.redis.connection_pool
        refused = error_named("ResponseError")
        refusal: Exception | None = None
        replies = []
        connection = await pool.get_connection()
        try:
            await connection.send_packed_command(commands)
            for _ in commands:
                try:
                    replies.append(await connection.read_response())
                except refused as error:
                    refusal = refusal or error
        except BaseException:
            # Replies that nobody read must not be the next one's.
            await connection.disconnect(nowait=True)
            raise
        finally:
            await pool.release(connection)
        if refusal is not None:
            raise refusal
        return replies

    async def _epoch(self, node: Any) -> tuple[str, str]:  # noqa: ANN401 - redis-py's
        server = await self._info("server", node)
        replication = await self._info("replication", node)
        if replication.get("role") != "master":
            if self.address.topology is not Topology.CLUSTER:
                # So that the sentinels are asked again.
                await self.redis.connection_pool.disconnect(inuse_connections=False)
            raise error_named("ReadOnlyError")("the primary was replaced")
        both = server | replication
        return parse_reply(lambda: (str(both["run_id"]), str(both["master_replid"])), [*both])

    async def _primaries(self) -> list[Any]:
        if self.address.topology is not Topology.CLUSTER:
            return [None]
        return list(self.redis.get_primaries())

    async def _info(self, section: str, node: Any) -> dict[str, Any]:  # noqa: ANN401 - redis-py's
        where = {} if node is None else {"target_nodes": node}
        answer = await self.redis.execute_command("INFO", section, **where)
        found: dict[str, Any] = answer
        return found

    async def _know_nodes(self) -> None:
        """Know which node of a cluster has what; after trouble, look again.

        redis-py would look by itself only where it tries again too, and close all connections.
        """
        # Else the first command goes to any node.
        await self.redis.initialize()
        if self._stale:
            async with self._looking:
                if self._stale:
                    await self.redis.nodes_manager.initialize()
                    self._stale = False


async def _all(calls: Iterable[Awaitable[T]]) -> list[T]:
    """What all of them give. None is under way any more when one's error is raised."""
    found = await asyncio.gather(*calls, return_exceptions=True)
    for one in found:
        if isinstance(one, BaseException):
            raise one
    return [one for one in found if not isinstance(one, BaseException)]


def packed(*words: bytes) -> bytes:
    """A command as it goes to Redis."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


def _bytes(word: bytes | str | int) -> bytes:
    return word if isinstance(word, bytes) else str(word).encode()


def _digest(script: str) -> str:
    return sha1(script.encode(), usedforsecurity=False).hexdigest()
