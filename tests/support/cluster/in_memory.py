"""The ports `Client` and `Store` in memory: each script of the protocol, in Python, as one step."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from verve._verve import SHARDS
from verve.cluster.redis_state import changes, hosts, scripts
from verve.stores.base import StoreCount, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

_TRIP_SECONDS = 0.001


def _text(word: bytes | str | int) -> str:
    return word.decode() if isinstance(word, bytes) else str(word)


class MemoryRedis:
    """One server for all hosts of a test. Each call takes a millisecond of the loop's time."""

    def __init__(self, wall: Callable[[], float]) -> None:
        """`wall` is its clock, in seconds since the epoch."""
        self._wall = wall
        self.is_away = False
        self.calls: list[tuple[float, str]] = []
        """The time and the name of each call."""
        self.hashes: dict[str, dict[str, str]] = defaultdict(dict)
        self.ids: dict[int, list[set[bytes]]] = defaultdict(lambda: [set() for _ in range(SHARDS)])
        self.marks: dict[int, set[bytes]] = defaultdict(set)
        self.changed: dict[str, int] = {}

    @property
    def now(self) -> int:
        """Milliseconds since the epoch."""
        return int(self._wall() * 1_000)

    async def call(self, name: str) -> None:
        """Begin a call: note it, and fail if the server is away."""
        self.calls.append((round(self._wall(), 6), name))
        await asyncio.sleep(_TRIP_SECONDS)
        if self.is_away:
            raise StoreError("away")

    def script(self, script: str, key: str, args: list[str]) -> Any:  # noqa: ANN401
        """Run a script."""
        of_hosts = {
            hosts._RENEW: self._renew,
            hosts._READ: self._lines,
            hosts._FORGET: self._forget,
        }
        if script in of_hosts:
            return of_hosts[script](key, args)
        if script == changes._NOTE:
            self.changed[args[0]] = self.now
            return self.now
        if script == changes._SINCE:
            found = [
                word.encode()
                for window, at in self.changed.items()
                if at >= int(args[0])
                for word in (window, str(at))
            ]
            return [self.now, found]
        outcome = _OUTCOMES[script](self, self.hashes[key], args[1:])
        return [outcome.encode(), self.now, self._fields(key)]

    def _fields(self, key: str) -> list[bytes]:
        return [word.encode() for pair in self.hashes[key].items() for word in pair]

    def _renew(self, key: str, args: list[str]) -> Any:  # noqa: ANN401
        known = args[0] in self.hashes[key]
        self.hashes[key][args[0]] = f"{self.now} {args[1]} {args[2]}"
        return [int(known), self.now, self._fields(key)]

    def _lines(self, key: str, _args: list[str]) -> Any:  # noqa: ANN401
        return [1, self.now, self._fields(key)]

    def _forget(self, key: str, args: list[str]) -> int:
        return sum(self.hashes[key].pop(host, None) is not None for host in args)

    def _read(self, _state: dict[str, str], _args: list[str]) -> str:
        return "read"

    def _register(self, state: dict[str, str], args: list[str]) -> str:
        host, how, *marks = args
        for marker, of in zip(marks[::2], marks[1::2], strict=True):
            state.setdefault(f"mark:{marker}", of)
        known = state.get(f"host:{host}")
        if known is None or (how == "open" and known != "registered"):
            state[f"host:{host}"] = "registered"
        return "new" if known is None else "known"

    def _complete(self, state: dict[str, str], args: list[str]) -> str:
        host, marker, epochs, word = args
        known, news = state.get(f"host:{host}"), f"{word} {marker} {epochs}"
        if known is None:
            return "unregistered"
        if known == news:
            return "known"
        if marker != "-":
            state.setdefault(f"mark:{marker}", host)
        state[f"host:{host}"] = news
        state["changes"] = str(int(state.get("changes", 0)) + 1)
        return "complete"

    def _begin(self, state: dict[str, str], args: list[str]) -> str:
        host, owner, attempt, milliseconds, _masters = args
        stands = state.get(f"host:{host}")
        if stands in {None, "registered"}:
            return "late" if stands else "unregistered"
        token = state.get("token")
        if token and int(state["token_until"]) > self.now and token.split(" ")[0] != owner:
            return "taken"
        state["token"] = f"{owner} {attempt}"
        state["token_until"] = str(self.now + int(milliseconds))
        return "begun"

    def _fix(self, state: dict[str, str], args: list[str]) -> str:
        if state.get("token") != args[0]:
            return "lost"
        state["fixed"] = state.get("changes", "0")
        state["token_until"] = str(self.now + int(args[1]))
        return "fixed"

    def _commit(self, state: dict[str, str], args: list[str]) -> str:
        token, revision, changes_seen, count, complete, host, _masters, seen = args
        if state.get("token") != token:
            return "lost"
        del state["token"], state["token_until"]
        written = sorted(f"{n} {v}\n" for n, v in state.items() if n.startswith("host:"))
        complete = complete if "".join(written) == seen else "0"
        if int(state.get("revision", 0)) != int(revision):
            return "moved"
        state["published_changes"] = changes_seen
        if int(revision):
            if int(count) < int(state["count"]):
                return "lower"
            if count == state["count"] and (state["complete"] == "1" or complete == "0"):
                return "same"
        state |= {"count": count, "complete": complete, "publisher": host}
        state |= {"delivery": f"{host} {self.now}", "revision": str(int(revision) + 1)}
        return "committed"

    def _release(self, state: dict[str, str], args: list[str]) -> str:
        if state.get("token") != args[0]:
            return "lost"
        del state["token"], state["token_until"]
        return "released"

    def _set_back(self, state: dict[str, str], args: list[str]) -> str:
        if state.get(f"host:{args[0]}") != args[1]:
            return "moved"
        state[f"host:{args[0]}"] = "registered"
        return "set back"

    def _restore(self, state: dict[str, str], args: list[str]) -> str:
        now = int(state.get("revision", 0)), int(state.get("count", 0))
        if now >= (int(args[0]), int(args[1])):
            return "newer"
        names = ("revision", "count", "complete", "publisher", "delivery")
        state |= dict(zip(names, args, strict=True)) | {"published_changes": "0"}
        return "restored"

    def _delivered(self, state: dict[str, str], args: list[str]) -> str:
        if state.get("revision", "0") != args[0]:
            return "moved"
        state["delivery"] = "done"
        return "delivered"

    def _take_over(self, state: dict[str, str], args: list[str]) -> str:
        host, revision, delivery, milliseconds = args
        since = delivery.rpartition(" ")[2]
        is_due = since.isdigit() and int(since) + int(milliseconds) <= self.now
        if (state.get("revision"), state.get("delivery")) != (revision, delivery) or not is_due:
            return "moved"
        state["delivery"] = f"{host} {self.now}"
        return "taken over"


_OUTCOMES: dict[str, Callable[[MemoryRedis, dict[str, str], list[str]], str]] = {
    scripts.READ: MemoryRedis._read,
    scripts.REGISTER: MemoryRedis._register,
    scripts.COMPLETE: MemoryRedis._complete,
    scripts.BEGIN: MemoryRedis._begin,
    scripts.FIX: MemoryRedis._fix,
    scripts.COMMIT: MemoryRedis._commit,
    scripts.RELEASE: MemoryRedis._release,
    scripts.SET_BACK: MemoryRedis._set_back,
    scripts.RESTORE: MemoryRedis._restore,
    scripts.DELIVERED: MemoryRedis._delivered,
    scripts.TAKE_OVER: MemoryRedis._take_over,
}


class MemoryClient:
    """See `Client`."""

    def __init__(self, redis: MemoryRedis) -> None:
        self._redis = redis
        self.masters = ""

    async def run(self, script: str, keys: Sequence[str], args: Sequence[bytes | str | int]) -> Any:  # noqa: ANN401
        """See the port."""
        await self._redis.call("run")
        return self._redis.script(script, keys[0], [_text(arg) for arg in args])

    async def time_microseconds(self) -> int:
        """See the port."""
        await self._redis.call("time")
        return self._redis.now * 1_000

    async def close(self) -> None:
        """See the port."""


class MemoryStore:
    """See `Store`."""

    name = "memory"

    def __init__(self, redis: MemoryRedis) -> None:
        self._redis = redis

    async def add(self, window_start: int, groups: Mapping[int, Sequence[bytes]]) -> None:
        """See the port."""
        await self._redis.call("add")
        for shard, members in groups.items():
            self._redis.ids[window_start][shard].update(members)

    async def mark(self, window_start: int, marker: bytes) -> None:
        """See the port."""
        await self._redis.call("mark")
        self._redis.marks[window_start].add(marker)

    async def count(self, window_start: int, markers: Collection[bytes]) -> StoreCount:
        """See the port."""
        await self._redis.call("count")
        there = self._redis.marks[window_start].intersection(markers)
        return StoreCount(sum(map(len, self._redis.ids[window_start])), frozenset(there))

    async def epochs(self) -> str:
        """See the port."""
        await self._redis.call("epochs")
        return "0"

    async def close(self) -> None:
        """See the port."""
