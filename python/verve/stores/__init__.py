"""The store in which hosts put their ids together: Redis, by one of two strategies.

`base` is the port, `redis_sets` and `redis_keys` are the strategies. `address` parses the URL,
`connection` makes connections, `client` makes calls, `errors` maps their errors, `acl` lists the
rights that Verve needs.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from verve._verve import SettingError
from verve.config.choices import Ack, RedisStrategy

from .address import Address
from .base import FailureKind, Store, StoreCount, StoreError
from .client import RedisClient
from .connection import EXTRA, check_tls, tls_files
from .redis_keys import RedisKeys
from .redis_sets import RedisSets

if TYPE_CHECKING:
    from verve.config import Settings

__all__ = [
    "FailureKind",
    "RedisClient",
    "RedisKeys",
    "RedisSets",
    "Store",
    "StoreCount",
    "StoreError",
    "check",
    "connect",
]


def connect(settings: Settings) -> tuple[RedisClient, Store]:
    """The client of Redis, and the store on it. Both belong to the loop that uses them first."""
    client = RedisClient.of(settings)
    place = settings.cluster, settings.window, settings.redis_keep
    match settings.redis_strategy:
        case RedisStrategy.SETS:
            return client, RedisSets(client, *place)
        case RedisStrategy.KEYS:
            return client, RedisKeys(client, *place)


def check(settings: Settings) -> None:
    """Check the settings of the store, without a Redis. Raises `SettingError`."""
    if settings.redis_url is None:
        if settings.ack is Ack.STORE:
            raise SettingError(
                f"there is no store to acknowledge an id: `{settings.ack}`; "
                "hint: set `VERVE_REDIS_URL`, or leave `VERVE_ACK` out"
            )
        return
    address = Address.parse(settings.redis_url)
    if not settings.cluster:
        raise SettingError(
            "hosts that share a Redis need the name of their cluster: `VERVE_CLUSTER`; "
            "hint: set it to the same name on all hosts that are to count as one, and on no other"
        )
    if (files := tls_files(settings)) and not address.tls:
        raise SettingError(
            f"files for TLS are named, but the URL is one without: `{address.shown}`; "
            "hint: `rediss://`"
        )
    check_tls(files)
    if importlib.util.find_spec("redis") is None:
        raise SettingError(
            f"the Redis mode needs a package that is missing: `redis`; hint: pip install '{EXTRA}'"
        )
