"""The double against a real Redis: the same commands and scripts, the same replies and keys."""

from __future__ import annotations

import random
import re
import time
from typing import TYPE_CHECKING, Any

import pytest
import redis

from tests.support.paths import ROOT
from verve.cluster.redis_state import changes, hosts, scripts
from verve.stores import redis_sets

from .redis_double import _COMMANDS, CommandError, RedisDouble

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.redis.server import RedisServer

NAMES = [b"host:a", b"host:b", b"mark:1", b"mark:2", b"revision", b"token", b"count"]
MEMBERS = [b"a" * 8, b"b" * 8, b"c" * 8, b"v" + b"1" * 8, b"v" + b"2" * 8]
SCRIPTS = {
    **{name: text for name, text in vars(scripts).items() if name.isupper() and name != "_HEAD"},
    "RENEW": hosts._RENEW,
    "LINES": hosts._READ,
    "FORGET": hosts._FORGET,
    "NOTE": changes._NOTE,
    "SINCE": changes._SINCE,
    "COUNT": redis_sets._COUNT,
    "MARK": redis_sets._MARK,
}


def _now() -> int:
    return time.time_ns() // 1_000


def _command(chance: random.Random) -> list[bytes]:
    """A command, mostly on keys that exist."""
    later = b"%d" % (int(time.time()) + 100)
    which = chance.choice([b"1", b"2"])
    of_hash, of_set, of_zset = b"h" + which, b"s" + which, b"z" + which
    name, member = chance.choice(NAMES), chance.choice(MEMBERS)
    number = b"%d" % chance.randrange(5)
    return chance.choice(
        [
            [b"HSET", of_hash, name, number],
            [b"HSETNX", of_hash, name, number],
            [b"HGET", of_hash, name],
            [b"HGETALL", of_hash],
            [b"HDEL", of_hash, name, chance.choice(NAMES)],
            [b"HEXISTS", of_hash, name],
            [b"SADD", of_set, member, chance.choice(MEMBERS)],
            [b"SCARD", of_set],
            [b"SISMEMBER", of_set, member],
            [b"SMEMBERS", of_set],
            [b"ZADD", of_zset, number, member],
            [b"ZRANGEBYSCORE", of_zset, number, b"+inf", b"WITHSCORES"],
            [b"ZRANGEBYSCORE", of_zset, b"-inf", number],
            [b"ZREMRANGEBYSCORE", of_zset, b"-inf", number],
            [b"EXPIREAT", of_hash, later],
            [b"EXPIREAT", of_set, b"1"],
            [b"EXPIRE", of_zset, b"100"],
            [b"EXISTS", chance.choice([of_hash, of_set])],
            [b"UNLINK", chance.choice([of_hash, of_set])],
            [b"TTL", chance.choice([of_hash, of_set, of_zset])],
            [b"HGET", of_set, name],
            [b"SADD", of_hash, member],
            [b"HSET", of_hash, name],
        ]
    )


def _script(chance: random.Random) -> tuple[str, list[bytes], list[bytes]]:
    """A script with arguments, some of which make sense."""
    name = chance.choice(sorted(SCRIPTS))
    number = b"%d" % chance.randrange(4)
    later = b"%d" % (int(time.time()) + 100)
    if name in {"COUNT", "MARK"}:
        args = [chance.choice(MEMBERS[3:]), later] if name == "MARK" else MEMBERS[3:4]
        return SCRIPTS[name], [b"ids", b"marks"], args
    if name in {"NOTE", "SINCE"}:
        return SCRIPTS[name], [b"changed"], [b"60", b"86400"] if name == "NOTE" else [b"0"]
    host = chance.choice([b"a", b"b"])
    if name in {"RENEW", "LINES", "FORGET"}:
        line = [host, b"1", b"60 0 0 0 0.1.0 name", b"60000", b"0"]
        return SCRIPTS[name], [b"hosts"], line if name == "RENEW" else [host]
    by_name: dict[str, list[bytes]] = {
        "REGISTER": [host, chance.choice([b"open", b"any"]), b"76", host],
        "COMPLETE": [host, b"76", b"epoch", b"complete"],
        "BEGIN": [host, host, number, b"3000", b""],
        "FIX": [host + b" " + number, b"3000", b""],
        "COMMIT": [
            host + b" " + number,
            number,
            number,
            number,
            b"1",
            host,
            b"",
            b"host:a registered\n",
        ],
        "RELEASE": [host + b" " + number],
        "SET_BACK": [host, b"complete 76 epoch"],
        "RESTORE": [number, number, b"1", host, b"done"],
        "DELIVERED": [number],
        "TAKE_OVER": [host, number, b"done", b"10000"],
        "READ": [],
    }
    return SCRIPTS[name], [chance.choice([b"state1", b"state2"])], [later, *by_name[name]]


def _result(call: Callable[[], Any]) -> Any:  # noqa: ANN401 - a reply
    try:
        return _without_times(call())
    except (redis.ResponseError, CommandError):
        return "error"


def _without_times(reply: Any) -> Any:  # noqa: ANN401 - a reply
    """A reply with each moment of these minutes replaced: the two servers are a little apart."""
    if isinstance(reply, list):
        return [_without_times(one) for one in reply]
    if isinstance(reply, bytes):
        return re.sub(rb"\b1[0-9]{9,15}\b", b"<time>", reply)
    if isinstance(reply, int) and reply > 1_000_000_000:
        return "<time>"
    return reply


class _Servers:
    """The double, and a real server."""

    def __init__(self, port: int) -> None:
        self.double = RedisDouble(_now, "1")
        connection: Any = redis.Connection
        self._real = connection(port=port, protocol=2)
        self._real.connect()

    def ask(self, *words: Any) -> Any:  # noqa: ANN401 - a reply, as Redis sends it
        """Ask the real one."""
        self._real.send_command(*words)
        return self._real.read_response()

    def compare_command(self, words: list[bytes]) -> None:
        """Run a command on both."""
        got = _result(lambda: self.double.command(*words))
        expected = _result(lambda: self.ask(*words))
        if words[0] == b"SMEMBERS" and isinstance(expected, list):
            expected.sort()  # a set has no order
        assert got == expected, words

    def compare_script(self, script: str, keys: list[bytes], args: list[bytes]) -> None:
        """Run a script on both."""
        got = _result(lambda: self.double.script(script, keys, args))
        expected = _result(lambda: self.ask("EVAL", script, len(keys), *keys, *args))
        assert got == expected, (script, keys, args)

    def close(self) -> None:
        """Leave the real one."""
        self._real.disconnect()


@pytest.mark.parametrize("seed", range(20))
def test_replies_are_those_of_redis(own_server: RedisServer, seed: int) -> None:
    chance = random.Random(seed)
    servers = _Servers(own_server.port)
    for _ in range(300):
        if chance.random() < 0.5:
            servers.compare_command(_command(chance))
        else:
            servers.compare_script(*_script(chance))
    servers.close()


def _sources() -> list[Path]:
    # The strategy `keys` is approximate, and not simulated.
    files = (ROOT / "python/verve").rglob("*.py")
    return [path for path in files if path.name != "redis_keys.py"]


def test_the_double_has_the_commands_that_the_scripts_use() -> None:
    source = "\n".join(path.read_text() for path in _sources())
    used = set(re.findall(r"redis\.call\('([A-Z]+)'", source))
    assert used
    assert used <= _COMMANDS.keys()
