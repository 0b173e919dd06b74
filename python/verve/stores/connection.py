"""Connections to Redis: every option of redis-py, and the TLS files.

redis-py is imported inside the functions that use it: most services have no Redis.
"""

from __future__ import annotations

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
"""Seconds to make a connection, and for each reply."""
SENTINEL_TIMEOUT = 0.5
"""The same for a sentinel, since there are others to ask."""
CONNECTIONS = 16
"""Connections of a client, and calls at once."""


def tls_files(settings: Settings) -> dict[str, str]:
    """The TLS files of the settings, by their names in redis-py."""
    files: dict[str, Path | None] = {
        "ssl_ca_certs": settings.redis_tls_ca,
        "ssl_certfile": settings.redis_tls_certificate,
        "ssl_keyfile": settings.redis_tls_key,
    }
    return {name: str(path) for name, path in files.items() if path is not None}


def check_tls(files: Mapping[str, str]) -> None:
    """Read the TLS files. Raises `SettingError` if they cannot be used."""
    try:
        context = ssl.create_default_context(cafile=files.get("ssl_ca_certs"))
        if certificate := files.get("ssl_certfile"):
            # Without a password, OpenSSL would ask for one on the terminal.
            context.load_cert_chain(certificate, files.get("ssl_keyfile"), password="")
        elif key := files.get("ssl_keyfile"):
            raise SettingError(
                f"a key is named without its certificate: `{key}`; "
                "hint: set `VERVE_REDIS_TLS_CERTIFICATE`"
            )
    except (OSError, ValueError) as error:
        raise SettingError(
            f"a TLS file cannot be used: {error}: `{', '.join(files.values())}`; "
            "hint: PEM files are needed, and the key that belongs to the certificate"
        ) from error


def open_client(address: Address, tls: Mapping[str, str]) -> Any:  # noqa: ANN401 - one of two classes
    """A client of redis-py, not connected yet."""
    from redis.asyncio import Redis, RedisCluster, cluster, connection, sentinel  # noqa: PLC0415

    common = _common(TIMEOUT) | {"username": address.user, "password": address.password}
    if address.topology is Topology.CLUSTER:
        return RedisCluster(
            startup_nodes=[cluster.ClusterNode(host, port) for host, port in address.nodes],
            retry=_never(),
            max_connections=CONNECTIONS,
            require_full_coverage=True,
            # The addresses that the cluster names replace those of the URL.
            dynamic_startup_nodes=True,
            # A moved slot is noted. Looking up all slots would end the calls of others.
            reinitialize_steps=0,
            **common,
            **_tls(address, tls),
        )
    common |= {"db": address.database, "retry": _never(), "max_connections": CONNECTIONS}
    if address.topology is Topology.SENTINEL:
        sentinels = sentinel.Sentinel(  # type: ignore[no-untyped-call]  # as redis-py has it
            list(address.nodes),
            # User and password are for the data, not for the sentinels.
            sentinel_kwargs=_common(SENTINEL_TIMEOUT) | {"retry": _never()} | _tls(address, tls),
        )
        return sentinels.master_for(
            address.service or "",
            connection_pool_class=_following(),
            **common,
            **_tls(address, tls),
        )
    ((host, port),) = address.nodes
    # The class of the connections already selects TLS.
    secure = {name: value for name, value in _tls(address, tls).items() if name != "ssl"}
    return Redis.from_pool(
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
    """A pool whose connections all leave a replaced master.

    When one of its connections finds another master, redis-py ends the idle ones. A connection in
    use would return to the pool, and go on writing to a master that no other host knows any more.
    """
    from redis.asyncio.sentinel import SentinelConnectionPool  # noqa: PLC0415

    class Following(SentinelConnectionPool):
        async def get_master_address(self) -> Any:  # noqa: ANN401 - redis-py's
            before = self.master_address
            address = await super().get_master_address()  # type: ignore[no-untyped-call]
            if before not in {None, address}:
                await self.update_active_connections_for_reconnect()  # type: ignore[no-untyped-call]
            return address

    return Following


def _common(timeout: float) -> dict[str, Any]:
    return {
        "client_name": "verve",
        # Saves two commands per connection, which a narrow ACL would refuse.
        "driver_info": None,
        "protocol": 2,
        "decode_responses": False,
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "socket_keepalive": True,
        # A PING first would wait for a dead connection as long as the command itself.
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
    from redis.asyncio.retry import Retry  # noqa: PLC0415
    from redis.backoff import NoBackoff  # noqa: PLC0415

    return Retry(NoBackoff(), 0)
