"""The way of a host to Redis: calls take time, get lost, come late, and come in another order."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, TypeVar

from verve.stores.address import Address
from verve.stores.base import FailureKind, StoreError
from verve.stores.client import CALL_SECONDS
from verve.stores.redis_sets import RedisSets

from .redis_double import CommandError, RedisDouble

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from verve.config import Settings

    from .world import World, WorldLoop

T = TypeVar("T")

_PARTS = 4
"""A pipeline is served in at most so many parts: others come in between."""


@dataclass
class Weather:
    """How the network does at present, for one host."""

    latency: float = 0.0005
    """Seconds of a trip; each takes up to twice as long."""
    straggles: float = 0.0
    """Share of the trips that take `straggle_seconds`."""
    straggle_seconds: float = 0.0
    lost_requests: float = 0.0
    lost_replies: float = 0.0
    repeats: float = 0.0
    """Share of the requests that are served a second time, later."""
    is_cut: bool = False
    sees_old: bool = False
    """Whether the host still talks to the master from before a failover."""


class Redis:
    """The service that the hosts know as Redis: a master, and after a failover the one before."""

    def __init__(self, world: World, wall_us: Callable[[], int]) -> None:
        """`wall_us` is its clock."""
        self.world = world
        self.wall_us = wall_us
        self._started = 0
        self.master = RedisDouble(wall_us, self._name())
        self.old = self.master
        self.weathers: list[Weather] = []
        """Those of the hosts."""
        self.is_away = False
        self.refuses = False
        """Whether a call fails at once while it is away."""
        self._replica: RedisDouble | None = None

    def _name(self) -> str:
        self._started += 1
        return f"{self._started:03d}"

    def seen(self) -> list[RedisDouble]:
        """The servers that hosts talk to at present."""
        sees_old = any(weather.sees_old for weather in self.weathers)
        return [self.master, self.old] if sees_old else [self.master]

    def restart(self, *, keeps: bool) -> None:
        """Start the server anew, with or without its keys."""
        self.master = self.master.copy(self._name())
        self.old = self.master
        if not keeps:
            self.master.flush()

    def replicate(self) -> None:
        """The replica has what the master has now; what comes later gets lost in a failover."""
        self._replica = self.master.copy(self._name())

    def fail_over(self) -> bool:
        """The replica takes over, if there is one; whether it does."""
        if self._replica is None:
            return False
        self.old, self.master, self._replica = self.master, self._replica, None
        return True


class SimulatedClient:
    """The port `Client`, and what `RedisSets` uses of it, for one process."""

    def __init__(
        self, redis: Redis, loop: WorldLoop, weather: Weather, chance: random.Random, name: str
    ) -> None:
        """`name` is that of the process, for the trace."""
        self.address = Address.parse("redis://simulated")
        self.masters = ""
        self._redis = redis
        self._loop = loop
        self._weather = weather
        self._chance = chance
        self._name = name

    async def run(self, script: str, keys: Sequence[str], args: Sequence[bytes | str | int]) -> Any:  # noqa: ANN401
        """See the port."""
        [reply] = await self._exchange(
            f"script {_short(script)} {keys[0]}", [partial(_run_script, script, keys, args)]
        )
        return reply

    async def run_for_each(
        self, script: str, keys: Sequence[Sequence[str]], args: Sequence[bytes | str | int]
    ) -> list[Any]:
        """See `RedisClient`."""
        return await self._exchange(
            f"scripts {_short(script)} {keys[0][0]}",
            [partial(_run_script, script, group, args) for group in keys],
        )

    async def send(self, commands: Sequence[bytes]) -> list[Any]:
        """See `RedisClient`."""
        words = [_unpacked(command) for command in commands]
        return await self._exchange(
            f"{len(words)} commands {words[0][1].decode()}",
            [partial(_run_command, command) for command in words],
        )

    async def time_microseconds(self) -> int:
        """See the port."""
        [reply] = await self._exchange("time", [lambda server: server.command(b"TIME")])
        return int(reply[0]) * 1_000_000 + int(reply[1])

    async def epochs(self) -> str:
        """See `RedisClient`."""
        [(run_id, replication_id)] = await self._exchange(
            "epochs", [lambda server: (server.run_id, server.replication_id)]
        )
        self.masters = replication_id
        return blake2b(repr((run_id, replication_id)).encode(), digest_size=8).hexdigest()

    async def close(self) -> None:
        """See the port."""

    async def _exchange(self, what: str, calls: Sequence[Callable[[RedisDouble], T]]) -> list[T]:
        """All replies, within the deadline."""
        call = _Call(self, what, calls)
        call.leave()
        try:
            async with asyncio.timeout(CALL_SECONDS):
                return await call.replies
        except TimeoutError:
            raise StoreError("no reply in time", FailureKind.TIMEOUT) from None

    def trip(self) -> float:
        """Seconds until a message arrives."""
        weather, chance = self._weather, self._chance
        if chance.random() < weather.straggles:
            return weather.straggle_seconds * (0.5 + chance.random())
        return weather.latency * (1 + chance.random())

    def is_lost(self, share: float) -> bool:
        """Whether a message gets lost, of which `share` do."""
        return self._weather.is_cut or self._chance.random() < share


class _Call:
    """One exchange. It may be served when nobody waits for it any more."""

    def __init__(
        self, client: SimulatedClient, what: str, calls: Sequence[Callable[[RedisDouble], T]]
    ) -> None:
        self.client = client
        self.what = what
        self.calls = calls
        self.replies: asyncio.Future[list[Any]] = client._loop.create_future()
        self._found: list[Any] = []

    def leave(self) -> None:
        client = self.client
        redis, world = client._redis, client._redis.world
        if redis.is_away and redis.refuses:
            world.after(client.trip(), self._fail, "refused", FailureKind.UNREACHABLE)
            return
        if client.is_lost(client._weather.lost_requests):
            return
        world.after(client.trip(), self._arrive, 0)
        if client._chance.random() < client._weather.repeats:
            again = _Call(client, f"again {self.what}", self.calls)
            world.after(3 * client.trip() + client._chance.random(), again._arrive, 0)

    def _arrive(self, first: int) -> None:
        client, redis = self.client, self.client._redis
        world = redis.world
        if redis.is_away or client._weather.is_cut:
            return
        server = redis.old if client._weather.sees_old else redis.master
        size = max(1, -(-len(self.calls) // _PARTS))
        world.note(f"{client._name} {self.what} +{first} at {server.run_id}")
        try:
            self._found += [call(server) for call in self.calls[first : first + size]]
        except CommandError as error:
            text = str(error)
            world.after(client.trip(), self._fail, text, FailureKind.OTHER)
            return
        if first + size < len(self.calls):
            world.after(client._weather.latency / 10, self._arrive, first + size)
        elif not client.is_lost(client._weather.lost_replies):
            world.after(client.trip(), self._reply, self._found)

    def _reply(self, replies: list[Any]) -> None:
        if not self.client._loop.is_closed():
            self.client._loop.call_soon(self._set, replies)

    def _set(self, replies: list[Any]) -> None:
        if not self.replies.done():
            self.replies.set_result(replies)

    def _fail(self, text: str, kind: FailureKind) -> None:
        if not self.client._loop.is_closed():
            self.client._loop.call_soon(self._raise, text, kind)

    def _raise(self, text: str, kind: FailureKind) -> None:
        if not self.replies.done():
            self.replies.set_exception(StoreError(text, kind))


def store_of(client: SimulatedClient, settings: Settings) -> RedisSets:
    """The real store, on a simulated client."""
    # The client has the part of `RedisClient` that the store uses.
    known: Any = client
    return RedisSets(known, settings.cluster, settings.window, settings.redis_keep)


def _short(script: str) -> str:
    return blake2b(script.encode(), digest_size=2).hexdigest()


def _run_script(
    script: str,
    keys: Sequence[str],
    args: Sequence[bytes | str | int],
    server: RedisDouble,
) -> Any:  # noqa: ANN401 - what Redis answers
    return server.script(script, keys, args)


def _run_command(words: Sequence[bytes], server: RedisDouble) -> Any:  # noqa: ANN401 - the same
    return server.command(*words)


def _unpacked(command: bytes) -> list[bytes]:
    """The words of a command in the protocol of Redis."""
    head, rest = command.split(b"\r\n", 1)
    words = []
    for _ in range(int(head[1:])):
        size, rest = rest.split(b"\r\n", 1)
        words.append(rest[: int(size[1:])])
        rest = rest[int(size[1:]) + 2 :]
    return words
