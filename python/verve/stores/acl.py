"""The rights that a user of Redis needs: all commands that Verve sends or runs in scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .address import Topology

if TYPE_CHECKING:
    from .address import Address

KEYS = "~verve:*"
COMMANDS = (
    "client|setname",
    "eval",
    "evalsha",
    "exists",
    "expire",
    "expireat",
    "get",
    "hdel",
    "hexists",
    "hget",
    "hgetall",
    "hset",
    "hsetnx",
    "incrby",
    "info",
    "sadd",
    "scard",
    "set",
    "sismember",
    "smembers",
    "time",
    "unlink",
    "zadd",
    "zrangebyscore",
    "zremrangebyscore",
)
OF_A_CLUSTER = ("asking", "cluster|slots", "command")
OF_A_DATABASE = ("select",)


def rules(address: Address | None = None) -> str:
    """The rules for `ACL SETUSER`: for this address, or for any single server."""
    commands: tuple[str, ...] = COMMANDS
    if address is not None and address.topology is Topology.CLUSTER:
        commands += OF_A_CLUSTER
    if address is not None and address.database:
        commands += OF_A_DATABASE
    return " ".join([KEYS, *(f"+{name}" for name in commands)])
