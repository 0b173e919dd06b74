"""A server with the commands of Redis that Verve uses, on a clock of the caller.

It runs the real scripts, in Lua 5.1 as Redis does. `test_redis_double.py` holds it against a real
Redis.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, TypeAlias

from lupa import lua51

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

Value: TypeAlias = dict[bytes, Any] | set[bytes]
Reply: TypeAlias = Any
"""An integer, bytes, None, or a list of replies."""


class CommandError(Exception):
    """An error reply."""


class _Lua:
    """One interpreter for all servers of a process: compiling a script takes long."""

    def __init__(self) -> None:
        # The stubs lack `encoding`: with None, strings of Lua are bytes.
        new_runtime: Any = lua51.LuaRuntime
        self.runtime = new_runtime(encoding=None)
        self.table = self.runtime.table_from
        self.items = self.runtime.eval(b"unpack")
        """The items of a table, at once."""
        self._scripts: dict[str, Any] = {}
        # Lua must not refer to a server: its collector and that of Python do not see each other.
        self.server: RedisDouble | None = None
        """The server whose script runs."""
        self._redis = self.table({b"call": self._call})

    def run(self, server: RedisDouble, script: str, keys: list[bytes], args: list[bytes]) -> Reply:
        """Run a script of a server."""
        self.server = server
        try:
            return self._compiled(script)(self._redis, self.table(keys), self.table(args))
        finally:
            self.server = None

    def _call(self, name: bytes, *words: Any) -> Any:  # noqa: ANN401 - values of Lua
        assert self.server is not None
        return self.server.call_of_lua(name, *words)

    def _compiled(self, script: str) -> Any:  # noqa: ANN401 - a function of Lua
        """The script as a function of `redis`, `KEYS` and `ARGV`."""
        found = self._scripts.get(script)
        if found is None:
            source = f"return function(redis, KEYS, ARGV)\n{script}\nend".encode()
            found = self._scripts[script] = self.runtime.execute(source)
        return found


_LUA = _Lua()


class RedisDouble:
    """The keys of one server, and its replication. `time_us` is its clock in microseconds."""

    def __init__(self, time_us: Callable[[], int], name: str) -> None:
        """`name` makes its run and its replication id."""
        self.time_us = time_us
        self.values: dict[bytes, Value] = {}
        self.expiries: dict[bytes, int] = {}
        """When a key expires, in milliseconds since the epoch."""
        self.run_id = f"run{name}"
        self.replication_id = f"{name}{'0' * 8}"

    def copy(self, name: str) -> RedisDouble:
        """A replica with the same keys, which takes over under ids of its own."""
        other = RedisDouble(self.time_us, name)
        other.values = {key: value.copy() for key, value in self.values.items()}
        other.expiries = dict(self.expiries)
        return other

    def flush(self) -> None:
        """Forget all keys."""
        self.values.clear()
        self.expiries.clear()

    def evict(self, keys: Iterable[bytes]) -> None:
        """Forget some keys."""
        for key in keys:
            self.values.pop(key, None)
            self.expiries.pop(key, None)

    def command(self, *words: bytes) -> Reply:
        """Run a command. Raises `CommandError`."""
        name = words[0].decode().upper()
        run = _COMMANDS.get(name)
        if run is None:
            raise CommandError(f"ERR unknown command '{name}'")
        return run(self, *words[1:])

    def script(
        self, script: str, keys: Sequence[bytes | str], args: Sequence[bytes | str | int]
    ) -> Reply:
        """Run a script, as `EVAL` does."""
        return _reply(_LUA.run(self, script, [*map(_bytes, keys)], [*map(_bytes, args)]))

    def call_of_lua(self, name: bytes, *words: Any) -> Any:  # noqa: ANN401 - values of Lua
        """Run a command of a script."""
        run = _COMMANDS_OF_SCRIPTS.get(name)
        if run is None:
            return _for_lua(self.command(name, *map(_argument, words)))
        return _for_lua(run(self, *map(_argument, words)))

    def _live(self, key: bytes) -> Value | None:
        expiry = self.expiries.get(key)
        if expiry is not None and expiry <= self.time_us() // 1_000:
            self.evict([key])
        return self.values.get(key)

    def _hash(self, key: bytes) -> dict[bytes, Any]:
        found: dict[bytes, Any] = self._typed(key, dict)
        return found

    def _typed(self, key: bytes, kind: type) -> Any:  # noqa: ANN401 - a value of that type
        found = self._live(key)
        if found is None:
            found = self.values[key] = kind()
        if not isinstance(found, kind):
            raise CommandError("WRONGTYPE Operation against a key holding the wrong kind of value")
        return found

    def _drop_if_empty(self, key: bytes) -> None:
        if not self.values.get(key, True):
            self.evict([key])

    def _reading(self, key: bytes, kind: type) -> Any:  # noqa: ANN401 - a value of that type
        found = self._typed(key, kind)
        self._drop_if_empty(key)
        return found

    def _time(self) -> Reply:
        seconds, rest = divmod(self.time_us(), 1_000_000)
        return [b"%d" % seconds, b"%d" % rest]

    def _info(self, section: bytes) -> Reply:
        if section == b"replication":
            fields = f"role:master\r\nmaster_replid:{self.replication_id}"
            return f"# Replication\r\n{fields}\r\n".encode()
        return f"# Server\r\nrun_id:{self.run_id}\r\n".encode()

    def _hget(self, key: bytes, field: bytes) -> Reply:
        return self._reading(key, dict).get(field)

    def _hset(self, key: bytes, *pairs: bytes) -> Reply:
        if not pairs or len(pairs) % 2:
            raise CommandError("ERR wrong number of arguments for 'hset' command")
        found = self._hash(key)
        news = dict(zip(pairs[::2], pairs[1::2], strict=True))
        added = len(news.keys() - found.keys())
        found.update(news)
        return added

    def _hsetnx(self, key: bytes, field: bytes, value: bytes) -> Reply:
        found = self._hash(key)
        is_new = field not in found
        found.setdefault(field, value)
        return int(is_new)

    def _hdel(self, key: bytes, *names: bytes) -> Reply:
        found = self._hash(key)
        gone = sum(found.pop(name, None) is not None for name in names)
        self._drop_if_empty(key)
        return gone

    def _hexists(self, key: bytes, field: bytes) -> Reply:
        return int(field in self._reading(key, dict))

    def _hgetall(self, key: bytes) -> Reply:
        return [word for pair in self._reading(key, dict).items() for word in pair]

    def _sadd(self, key: bytes, *members: bytes) -> Reply:
        found: set[bytes] = self._typed(key, set)
        before = len(found)
        found.update(members)
        return len(found) - before

    def _scard(self, key: bytes) -> Reply:
        return len(self._reading(key, set))

    def _sismember(self, key: bytes, member: bytes) -> Reply:
        return int(member in self._reading(key, set))

    def _smembers(self, key: bytes) -> Reply:
        return sorted(self._reading(key, set))

    def _exists(self, key: bytes) -> Reply:
        return int(self._live(key) is not None)

    def _unlink(self, key: bytes) -> Reply:
        found = self._exists(key)
        self.evict([key])
        return found

    def _expireat(self, key: bytes, seconds: bytes) -> Reply:
        return self._expire_at_ms(key, int(seconds) * 1_000)

    def _expire(self, key: bytes, seconds: bytes) -> Reply:
        return self._expire_at_ms(key, self.time_us() // 1_000 + int(seconds) * 1_000)

    def _expire_at_ms(self, key: bytes, at: int) -> Reply:
        if self._live(key) is None:
            return 0
        self.expiries[key] = at
        self._live(key)
        return 1

    def _ttl(self, key: bytes) -> Reply:
        if self._live(key) is None:
            return -2
        expiry = self.expiries.get(key)
        return -1 if expiry is None else round((expiry - self.time_us() / 1_000) / 1_000)

    def _zadd(self, key: bytes, score: bytes, member: bytes) -> Reply:
        found = self._hash(key)
        is_new = member not in found
        found[member] = float(score)
        return int(is_new)

    def _zrangebyscore(self, key: bytes, low: bytes, high: bytes, *options: bytes) -> Reply:
        scores = self._reading(key, dict).items()
        found = sorted(
            (score, member) for member, score in scores if float(low) <= score <= float(high)
        )
        if [option.upper() for option in options] != [b"WITHSCORES"]:
            return [member for _, member in found]
        return [word for score, member in found for word in (member, b"%.17g" % score)]

    def _zremrangebyscore(self, key: bytes, low: bytes, high: bytes) -> Reply:
        gone = self._zrangebyscore(key, low, high)
        found = self._hash(key)
        for member in gone:
            del found[member]
        self._drop_if_empty(key)
        return len(gone)

    def _keys(self, pattern: bytes) -> Reply:
        live = [key for key in list(self.values) if self._live(key) is not None]
        return sorted(key for key in live if fnmatchcase(key.decode(), pattern.decode()))


_COMMANDS: dict[str, Callable[..., Reply]] = {
    name: getattr(RedisDouble, f"_{name.lower()}")
    for name in (
        "EXISTS",
        "EXPIRE",
        "EXPIREAT",
        "HDEL",
        "HEXISTS",
        "HGET",
        "HGETALL",
        "HSET",
        "HSETNX",
        "INFO",
        "KEYS",
        "SADD",
        "SCARD",
        "SISMEMBER",
        "SMEMBERS",
        "TIME",
        "TTL",
        "UNLINK",
        "ZADD",
        "ZRANGEBYSCORE",
        "ZREMRANGEBYSCORE",
    )
}


_COMMANDS_OF_SCRIPTS = {name.encode(): run for name, run in _COMMANDS.items()}


def _bytes(word: bytes | str | int) -> bytes:
    return word if type(word) is bytes else str(word).encode()


def _argument(word: bytes | float) -> bytes:
    """An argument of `redis.call`: Redis writes numbers with 17 digits."""
    return word if isinstance(word, bytes) else b"%.17g" % word


def _for_lua(reply: Reply) -> Any:  # noqa: ANN401 - a value of Lua
    """A reply as Lua sees it: what is missing is `false`."""
    if reply is None:
        return False
    if type(reply) is list:
        return _LUA.table([_for_lua(one) if type(one) is not bytes else one for one in reply])
    return reply


def _reply(value: Any) -> Reply:  # noqa: ANN401 - a value of Lua
    """What a script returns, as Redis sends it: integers, and arrays up to the first nil."""
    kind = type(value)
    if kind is bytes:
        return value
    if value is None or value is False:
        return None
    if value is True:
        return 1
    if kind is int or kind is float:
        return int(value)
    items = _LUA.items(value)
    if type(items) is not tuple:
        # One item, or none.
        items = () if items is None else (items,)
    elif None in items:
        items = items[: items.index(None)]
    return [one if type(one) is bytes else _reply(one) for one in items]
