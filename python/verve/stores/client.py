"""Redis by redis-py: one client for a single server, a Redis Cluster, or servers with sentinels.

All options are set here, none is left to a default that a new version may change. Each call ends by
a deadline. Nothing is retried below this client, since its callers know better when to try again. A
cancelled call closes its connection, so that it leaves no reply behind for the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
from hashlib import blake2b, sha1
from typing import TYPE_CHECKING, Any, TypeVar

from .address import Address, Topology
from .base import FailureKind, number, parse_reply, reading_replies
from .connection import CONNECTIONS, open_client, tls_files
from .errors import redis_errors, store_error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping, Sequence

    from verve.config import Settings

T = TypeVar("T")

CALL_SECONDS = 4.0
"""Seconds for a whole call: waiting for a connection, making it, sending, all replies."""
_MAY_BE_REPLACED = {FailureKind.UNREACHABLE, FailureKind.TIMEOUT, FailureKind.READ_ONLY}
_LATEST = 9_000_000_000
"""Seconds since the epoch: what is later is no time, and too many nanoseconds for a clock."""
_TIME = "return redis.call('TIME')"


class RedisClient:
    """A client of the servers at `address`. Belongs to the event loop that it is first used on."""

    def __init__(self, address: Address, tls: Mapping[str, str] | None = None) -> None:
        """`tls`: files, by their names in redis-py."""
        self.address = address
        self.masters = ""
        """Replication ids of the masters, as of the last `epochs`."""
        self.redis: Any = open_client(address, tls or {})
        # The pools of sentinels and clusters would refuse more calls at once.
        self._places = asyncio.Semaphore(CONNECTIONS)
        self._stale = False
        self._looking = asyncio.Lock()

    @classmethod
    def of(cls, settings: Settings) -> RedisClient:
        """The client that the settings describe."""
        return cls(Address.parse(settings.redis_url or ""), tls_files(settings))

    async def run(self, script: str, keys: Sequence[str], args: Sequence[bytes | str | int]) -> Any:  # noqa: ANN401 - what Redis answers
        """Run a script whose keys are in one slot. Raises `StoreError`."""
        from redis.exceptions import NoScriptError  # noqa: PLC0415

        async with self.call():
            try:
                return await self.redis.evalsha(_digest(script), len(keys), *keys, *args)
            except NoScriptError:
                return await self.redis.eval(script, len(keys), *keys, *args)

    async def run_for_each(
        self, script: str, keys: Sequence[Sequence[str]], args: Sequence[bytes | str | int]
    ) -> list[Any]:
        """Run a script once for each group of keys; it may run twice. Raises `StoreError`."""
        from redis.exceptions import NoScriptError  # noqa: PLC0415

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
            except NoScriptError:
                return await self._exchange(commands(b"EVAL", script.encode()))

    async def send(self, commands: Sequence[bytes]) -> list[Any]:
        """Send packed commands, and return their replies. Raises `StoreError`.

        Not for a Redis Cluster. redis-py takes a microsecond to pack an argument, which would be
        most of the time of an id.
        """
        async with self.call():
            return await self._exchange(commands)

    async def time_microseconds(self, key: str = "verve:{time}") -> int:
        """The time of the one primary that has `key`, since the epoch. Raises `StoreError`."""
        found = await self.run(_TIME, [key], [])

        def read() -> int:
            return number(found[0], _LATEST) * 1_000_000 + number(found[1], 999_999)

        return parse_reply(read, found)

    async def epochs(self) -> str:
        """A word that changes with each restart or failover of a primary. Raises `StoreError`.

        It is the same for all hosts, so it has no address: hosts may know a server by other names.
        """
        async with self.call():
            found = sorted(await _all(map(self._epoch, await self._primaries())))
            self.masters = " ".join(replication_id for _, replication_id in found)
            return blake2b(repr(found).encode(), digest_size=8).hexdigest()

    async def eviction_policy(self) -> str | None:
        """The policy of full servers; None if they do not tell. Raises `StoreError`."""
        async with self.call():
            policies = set()
            for node in await self._primaries():
                memory = await self._info("memory", node)
                policies.add(str(memory.get("maxmemory_policy", "")))
            return ",".join(sorted(policies)) or None

    @contextlib.asynccontextmanager
    async def call(self) -> AsyncIterator[None]:
        """Enclose calls of `redis`: sets the deadline, and raises errors as `StoreError`."""
        try:
            # The deadline may cancel: redis-py closes the connection of a cancelled command.
            async with asyncio.timeout(CALL_SECONDS), self._places:
                with reading_replies():
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
                    # After a failure redis-py takes them for closed already.
                    for nodes in ("nodes_cache", "startup_nodes"):
                        await self.redis.nodes_manager.aclose(nodes)
                if self.address.topology is Topology.SENTINEL:
                    # Closing the server's connections leaves those to the sentinels open.
                    for sentinel in self.redis.connection_pool.sentinel_manager.sentinels:
                        await sentinel.aclose()

    async def _exchange(self, commands: Sequence[bytes]) -> list[Any]:
        """All replies, or the first error among them."""
        from redis.exceptions import ResponseError  # noqa: PLC0415

        pool = self.redis.connection_pool
        refusal: Exception | None = None
        replies = []
        connection = await pool.get_connection()
        try:
            await connection.send_packed_command(commands)
            for _ in commands:
                try:
                    replies.append(await connection.read_response())
                except ResponseError as error:
                    refusal = refusal or error
        except BaseException:
            # The next call must not get the replies that were not read.
            await connection.disconnect(nowait=True)
            raise
        finally:
            await pool.release(connection)
        if refusal is not None:
            raise refusal
        return replies

    async def _epoch(self, node: Any) -> tuple[str, str]:  # noqa: ANN401 - redis-py's
        from redis.exceptions import ReadOnlyError  # noqa: PLC0415

        server = await self._info("server", node)
        replication = await self._info("replication", node)
        if replication.get("role") != "master":
            if self.address.topology is not Topology.CLUSTER:
                # The next call asks the sentinels again.
                await self.redis.connection_pool.disconnect(inuse_connections=False)
            raise ReadOnlyError("the primary was replaced")
        both = server | replication
        return parse_reply(lambda: (str(both["run_id"]), str(both["master_replid"])), [*both])

    async def _primaries(self) -> list[Any]:
        if self.address.topology is not Topology.CLUSTER:
            return [None]
        return list(self.redis.get_primaries())

    async def _info(self, section: str, node: Any) -> dict[str, Any]:  # noqa: ANN401 - redis-py's
        where = {} if node is None else {"target_nodes": node}
        answer = await self.redis.execute_command("INFO", section, **where)
        return parse_reply(lambda: dict(answer), answer)

    async def _know_nodes(self) -> None:
        """Know the nodes of a cluster; after a failure, look them up again.

        redis-py looks them up only together with its own retries, and closes all connections then.
        """
        # Without this the first command goes to any node.
        await self.redis.initialize()
        if self._stale:
            async with self._looking:
                if self._stale:
                    await self.redis.nodes_manager.initialize()
                    self._stale = False


async def _all(calls: Iterable[Awaitable[T]]) -> list[T]:
    """All results. Raises an error only when no call is under way any more."""
    found = await asyncio.gather(*calls, return_exceptions=True)
    for one in found:
        if isinstance(one, BaseException):
            raise one
    return [one for one in found if not isinstance(one, BaseException)]


def packed(*words: bytes) -> bytes:
    """A command in the protocol of Redis."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


def _bytes(word: bytes | str | int) -> bytes:
    return word if isinstance(word, bytes) else str(word).encode()


def _digest(script: str) -> str:
    return sha1(script.encode(), usedforsecurity=False).hexdigest()
