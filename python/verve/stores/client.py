"""Redis by redis-py: one client for a single server, a Redis Cluster, or what sentinels watch.

All of its choices are made here, none is left to a default that a new version may change. Each call
ends by the timeouts of its connection; nothing is retried below, since whoever asks knows better
when to ask again. A call that is cancelled closes its connection, so that no reply is left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from hashlib import blake2b, sha1
from typing import TYPE_CHECKING, Any

from .address import Address, Kind
from .base import StoreError, Trouble

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from verve.config import Settings

EXTRA = "verve-counter[redis]"
TIMEOUT = 2.0
"""Seconds for a connection to be made, and for each reply."""
DEADLINE = 2 * TIMEOUT
"""Seconds for a call that may have to ask several servers, each of which may not answer."""
_CONNECTIONS = 64
_AT_ONCE = 16
"""Scripts under way at a time; the rest wait for their turn, not in vain for a connection."""
_TIME = "return redis.call('TIME')"

# By the names of redis-py's errors, the first that one of them has among its classes.
_TROUBLES = {
    "AuthenticationError": Trouble.AUTHENTICATION,
    "AuthenticationWrongNumberOfArgsError": Trouble.AUTHENTICATION,
    "AuthorizationError": Trouble.AUTHORIZATION,
    "NoPermissionError": Trouble.AUTHORIZATION,
    "OutOfMemoryError": Trouble.FULL,
    "ReadOnlyError": Trouble.READ_ONLY,
    "BusyLoadingError": Trouble.LOADING,
    "TimeoutError": Trouble.TIMEOUT,
    "SSLError": Trouble.TLS,
    "ConnectionError": Trouble.UNREACHABLE,
    "ClusterDownError": Trouble.UNREACHABLE,
    "MasterNotFoundError": Trouble.UNREACHABLE,
    "OSError": Trouble.UNREACHABLE,
}
_HINTS = {
    Trouble.AUTHENTICATION: "see the user and the password in `VERVE_REDIS_URL`",
    Trouble.AUTHORIZATION: "the user needs the keys `verve:*` and scripts; see docs/scale.md",
    Trouble.TLS: "see `VERVE_REDIS_TLS_CA`, and the name in the server's certificate",
    Trouble.FULL: "give Redis more memory; with another policy than noeviction ids would be lost",
}


class RedisClient:
    """A client of the servers at `address`. Belongs to the event loop that it is first used on."""

    def __init__(self, address: Address, tls: Mapping[str, str] | None = None) -> None:
        """`tls`: files, by the names that redis-py has for them."""
        self.address = address
        self._tls = dict(tls or {})
        self._sentinels: list[Any] = []
        # One at a time: when redis-py learns of a cluster's nodes it closes the connections to
        # those before, whoever uses them.
        at_once = 1 if address.kind is Kind.CLUSTER else _AT_ONCE
        self._turn = asyncio.Semaphore(at_once)
        self.masters = ""
        """Replication ids of the masters, as of the last `epochs`."""
        self._asyncio: Any = importlib.import_module("redis.asyncio")
        self.redis: Any = self._open()

    @classmethod
    def of(cls, settings: Settings) -> RedisClient:
        """A client of what the settings name."""
        files = {
            "ssl_ca_certs": settings.redis_tls_ca,
            "ssl_certfile": settings.redis_tls_certificate,
            "ssl_keyfile": settings.redis_tls_key,
        }
        tls = {name: str(path) for name, path in files.items() if path is not None}
        return cls(Address.parse(settings.redis_url or ""), tls)

    async def run(self, script: str, keys: Sequence[str], args: Sequence[bytes | str | int]) -> Any:  # noqa: ANN401 - what Redis answers
        """Run a script whose keys are in one slot. Raises `StoreError`."""
        async with self.turn():
            digest = sha1(script.encode(), usedforsecurity=False).hexdigest()
            try:
                return await self.redis.evalsha(digest, len(keys), *keys, *args)
            except self._error("NoScriptError"):
                return await self.redis.eval(script, len(keys), *keys, *args)

    async def send(self, packed: Sequence[bytes]) -> None:
        """Send commands that are packed already, and hear that each was done. Raises `StoreError`.

        Not for a Redis Cluster. redis-py packs an argument in a microsecond, which is most of what
        an id would take.
        """
        async with self.translated():
            pool = self.redis.connection_pool
            connection = await pool.get_connection()
            try:
                await connection.send_packed_command(packed)
                for _ in packed:
                    await connection.read_response()
            except BaseException:
                # Replies that nobody read must not be the next one's.
                await connection.disconnect(nowait=True)
                raise
            finally:
                await pool.release(connection)

    async def time_microseconds(self, key: str = "verve:{time}") -> int:
        """The time of the one primary that has `key`, since the epoch. Raises `StoreError`."""
        seconds, microseconds = await self.run(_TIME, [key], [])
        return int(seconds) * 1_000_000 + int(microseconds)

    async def epochs(self) -> str:
        """A word that is another one after any restart or failover of a primary. `StoreError`."""
        async with self.turn():
            found = []
            for node in await self._primaries():
                server = await self._info("server", node)
                replication = await self._info("replication", node)
                if replication.get("role") != "master":
                    await self._look_again()
                    raise StoreError("the primary was replaced", Trouble.READ_ONLY)
                found.append((str(server["run_id"]), str(replication["master_replid"])))
            self.masters = " ".join(replication_id for _, replication_id in sorted(found))
            return blake2b(repr(sorted(found)).encode(), digest_size=8).hexdigest()

    async def eviction_policy(self) -> str | None:
        """What the servers do when they are full; None when they do not tell. `StoreError`."""
        async with self.turn():
            policies = set()
            for node in await self._primaries():
                memory = await self._info("memory", node)
                policies.add(str(memory.get("maxmemory_policy", "")))
            return ",".join(sorted(policies)) or None

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """For one call, once fewer are under way than may be; errors as by `translated`."""
        # The wait for it is part of the call, and of its deadline.
        async with self.translated(), self._turn:
            yield

    @contextlib.asynccontextmanager
    async def translated(self) -> AsyncIterator[None]:
        """Errors of redis-py become `StoreError`, without a secret; so does the deadline's."""
        # A single server is bounded by its timeouts, however much it is asked.
        seconds = None if self.address.kind is Kind.SINGLE else DEADLINE
        try:
            async with asyncio.timeout(seconds):
                yield
        except self._errors() as error:
            trouble = trouble_of(error)
            words = f"{type(error).__name__}: {error}".rstrip(": ")
            text = f"Redis: {words}: `{self.address.shown}`"
            if hint := _HINTS.get(trouble):
                text += f"; hint: {hint}"
            raise StoreError(self.address.masked(text), trouble) from error

    async def close(self) -> None:
        """Close the connections."""
        for one in (self.redis, *self._sentinels):
            with contextlib.suppress(*self._errors()):
                await one.aclose()

    async def _primaries(self) -> list[Any]:
        if self.address.kind is not Kind.CLUSTER:
            return [None]
        await self.redis.initialize()
        return list(self.redis.get_primaries())

    async def _info(self, section: str, node: Any) -> dict[str, Any]:  # noqa: ANN401 - redis-py's
        where = {} if node is None else {"target_nodes": node}
        answer = await self.redis.execute_command("INFO", section, **where)
        found: dict[str, Any] = answer
        return found

    async def _look_again(self) -> None:
        """Forget which server is the primary."""
        if self.address.kind is Kind.CLUSTER:
            await self.redis.nodes_manager.initialize()
        else:
            await self.redis.connection_pool.disconnect()

    def _open(self) -> Any:  # noqa: ANN401 - one of two classes
        retry_module = importlib.import_module("redis.asyncio.retry")
        backoff = importlib.import_module("redis.backoff")
        address = self.address
        common: dict[str, Any] = {
            "username": address.user,
            "password": address.password,
            "client_name": "verve",
            "protocol": 2,
            "decode_responses": False,
            "socket_timeout": TIMEOUT,
            "socket_connect_timeout": TIMEOUT,
            "socket_keepalive": True,
            "health_check_interval": 0,
        }
        never = retry_module.Retry(backoff.NoBackoff(), 0)
        if address.kind is Kind.CLUSTER:
            node = importlib.import_module("redis.asyncio.cluster").ClusterNode
            return self._asyncio.RedisCluster(
                startup_nodes=[node(host, port) for host, port in address.nodes],
                # One attempt more finds out who took over.
                retry=retry_module.Retry(backoff.ConstantBackoff(0.05), 2),
                max_connections=_CONNECTIONS,
                require_full_coverage=True,
                **common,
                **self._tls_arguments(),
            )
        common |= {"db": address.database, "retry": never}
        pool = {"max_connections": _CONNECTIONS, "timeout": TIMEOUT}
        if address.kind is Kind.SENTINEL:
            sentinel = importlib.import_module("redis.asyncio.sentinel")
            # The user and the password are those of the data, not of the sentinels.
            sentinels = sentinel.Sentinel(
                list(address.nodes),
                sentinel_kwargs={
                    "socket_timeout": TIMEOUT,
                    "socket_connect_timeout": TIMEOUT,
                    "retry": never,
                    **self._tls_arguments(),
                },
            )
            self._sentinels = list(sentinels.sentinels)
            return sentinels.master_for(
                address.service, max_connections=_CONNECTIONS, **common, **self._tls_arguments()
            )
        ((host, port),) = address.nodes
        connection = importlib.import_module("redis.asyncio.connection")
        return self._asyncio.Redis.from_pool(
            connection.BlockingConnectionPool(
                connection_class=(
                    connection.SSLConnection if address.tls else connection.Connection
                ),
                host=host,
                port=port,
                **common,
                **pool,
                **self._tls_arguments(pooled=True),
            )
        )

    def _tls_arguments(self, *, pooled: bool = False) -> dict[str, Any]:
        if not self.address.tls:
            return {}
        # The class of a pool's connections says it already.
        return {**({} if pooled else {"ssl": True}), **self._tls}

    @classmethod
    def _errors(cls) -> tuple[type[Exception], ...]:
        """All that redis-py raises. That no node of a cluster is there is none of its own kind."""
        named = (cls._error("RedisError"), cls._error("RedisClusterException"))
        return (*named, OSError, TimeoutError)

    @staticmethod
    def _error(name: str) -> type[Exception]:
        found: type[Exception] = getattr(importlib.import_module("redis.exceptions"), name)
        return found


def trouble_of(error: BaseException) -> Trouble:
    """What kind of trouble an error of redis-py, or of what is below it, tells of."""
    cause: BaseException | None = error
    while cause is not None:
        # A connection that TLS has ended is a connection error with that cause.
        if any(one.__name__ == "SSLError" for one in type(cause).__mro__):
            return Trouble.TLS
        cause = cause.__cause__ or cause.__context__
    if str(error).startswith("OOM"):
        return Trouble.FULL
    # What a script ran into has no class of its own.
    if "The user executing the script can't" in str(error):
        return Trouble.AUTHORIZATION
    # That no node of a cluster would do is an error whose cause is that of the last one.
    cause = error
    while cause is not None:
        for one in type(cause).__mro__:
            if one.__name__ in _TROUBLES:
                return _TROUBLES[one.__name__]
        cause = cause.__cause__ or cause.__context__
    return Trouble.OTHER
