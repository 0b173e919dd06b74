"""How connections to Redis are made: all that redis-py leaves open, and the files of TLS."""

from __future__ import annotations

import importlib
import ssl
from typing import TYPE_CHECKING, Any

from verve._verve import SettingError

from .address import Topology

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from verve.config import Settings

    from .address import Address

EXTRA = "verve-counter[redis]"
TIMEOUT = 2.0
"""Seconds for a connection to be made, and for each reply."""
SENTINEL_TIMEOUT = 0.5
"""The same of a sentinel: there are others to ask."""
CONNECTIONS = 16


def tls_files(settings: Settings) -> dict[str, str]:
    """The files of TLS that are named, by the names that redis-py has for them."""
    files: dict[str, Path | None] = {
        "ssl_ca_certs": settings.redis_tls_ca,
        "ssl_certfile": settings.redis_tls_certificate,
        "ssl_keyfile": settings.redis_tls_key,
    }
    return {name: str(path) for name, path in files.items() if path is not None}


def check_tls(files: Mapping[str, str]) -> None:
    """Read the files of TLS. Raises `SettingError` where they are of no use."""
    try:
        context = ssl.create_default_context(cafile=files.get("ssl_ca_certs"))
        if certificate := files.get("ssl_certfile"):
            # Without a password, or a terminal would be asked for one.
            context.load_cert_chain(certificate, files.get("ssl_keyfile"), password="")
        elif key := files.get("ssl_keyfile"):
            raise SettingError(
                f"a key is named without its certificate: `{key}`; "
                "hint: set `VERVE_REDIS_TLS_CERTIFICATE`"
            )
    except (OSError, ValueError) as error:
        raise SettingError(
            f"a file of TLS cannot be used: {error}: `{', '.join(files.values())}`; "
            "hint: PEM files are needed, and the key that belongs to the certificate"
        ) from error


def open_client(address: Address, tls: Mapping[str, str]) -> Any:  # noqa: ANN401 - one of two classes
    """A client of redis-py, not connected yet."""
    module = importlib.import_module("redis.asyncio")
    common = _common(TIMEOUT) | {"username": address.user, "password": address.password}
    if address.topology is Topology.CLUSTER:
        node = importlib.import_module("redis.asyncio.cluster").ClusterNode
        return module.RedisCluster(
            startup_nodes=[node(host, port) for host, port in address.nodes],
            retry=_never(),
            max_connections=CONNECTIONS,
            require_full_coverage=True,
            # Addresses that are found out take the place of those of the URL.
            dynamic_startup_nodes=True,
            # A slot that was moved is noted; to look all of them up would end the calls of others.
            reinitialize_steps=0,
            **common,
            **_tls(address, tls),
        )
    common |= {"db": address.database, "retry": _never(), "max_connections": CONNECTIONS}
    if address.topology is Topology.SENTINEL:
        sentinels = importlib.import_module("redis.asyncio.sentinel").Sentinel(
            list(address.nodes),
            # The user and the password are those of the data, not of the sentinels.
            sentinel_kwargs=_common(SENTINEL_TIMEOUT) | {"retry": _never()} | _tls(address, tls),
        )
        return sentinels.master_for(
            address.service, connection_pool_class=_following(), **common, **_tls(address, tls)
        )
    ((host, port),) = address.nodes
    connection = importlib.import_module("redis.asyncio.connection")
    # The class of the connections says already that they are of TLS.
    secure = {name: value for name, value in _tls(address, tls).items() if name != "ssl"}
    return module.Redis.from_pool(
        connection.BlockingConnectionPool(
            connection_class=connection.SSLConnection if address.tls else connection.Connection,
            host=host,
            port=port,
            timeout=TIMEOUT,
            **common,
            **secure,
        )
    )


def _following() -> type[Any]:
    """A pool that leaves a master as a whole.

    When one of its connections finds another master, redis-py ends those that are idle. One in use
    would come back to the pool, and go on to write to a master that nobody else knows any more.
    """
    pool: Any = importlib.import_module("redis.asyncio.sentinel").SentinelConnectionPool

    class Following(pool):  # type: ignore[misc]  # it is imported when it is needed
        async def get_master_address(self) -> Any:  # noqa: ANN401 - redis-py's
            before = self.master_address
            address = await super().get_master_address()
            if before not in {None, address}:
                await self.update_active_connections_for_reconnect()
            return address

    return Following


def _common(timeout: float) -> dict[str, Any]:
    return {
        "client_name": "verve",
        # Two commands less a connection, which a narrow ACL would refuse.
        "driver_info": None,
        "protocol": 2,
        "decode_responses": False,
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "socket_keepalive": True,
        # A PING ahead would wait for a dead connection as long as the command itself does.
        "health_check_interval": 0,
    }


def _tls(address: Address, files: Mapping[str, str]) -> dict[str, Any]:
    if not address.tls:
        return {}
    return {
        "ssl": True,
        "ssl_cert_reqs": "required",
        "ssl_check_hostname": True,
        "ssl_min_version": ssl.TLSVersion.TLSv1_2,
        **files,
    }


def _never() -> Any:  # noqa: ANN401 - a class of redis-py
    retry = importlib.import_module("redis.asyncio.retry").Retry
    return retry(importlib.import_module("redis.backoff").NoBackoff(), 0)
