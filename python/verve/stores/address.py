"""The address of Redis, parsed from `VERVE_REDIS_URL` without any connection."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import quote, unquote, urlsplit

from verve._verve import SettingError
from verve.config.masking import masked

DEFAULT_PORT = 6379
DEFAULT_SENTINEL_PORT = 26379
_HINT = (
    "hint: redis://[user:password@]host:6379[/0], rediss://... for TLS, "
    "redis+cluster://host:6379,host:6379, redis+sentinel://host:26379,host:26379/<service>[/0]"
)


class Topology(StrEnum):
    """How the servers are arranged."""

    SINGLE = "single"
    CLUSTER = "cluster"
    SENTINEL = "sentinel"


_SCHEMES = {
    "redis": (Topology.SINGLE, False),
    "rediss": (Topology.SINGLE, True),
    "redis+cluster": (Topology.CLUSTER, False),
    "rediss+cluster": (Topology.CLUSTER, True),
    "redis+sentinel": (Topology.SENTINEL, False),
    "rediss+sentinel": (Topology.SENTINEL, True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """The first servers, and the login. `service` is the name of the master for sentinels."""

    topology: Topology
    tls: bool
    nodes: tuple[tuple[str, int], ...]
    database: int = 0
    service: str | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def shown(self) -> str:
        """The URL without its secrets."""
        scheme = next(
            name for name, value in _SCHEMES.items() if value == (self.topology, self.tls)
        )
        nodes = ",".join(f"[{h}]:{p}" if ":" in h else f"{h}:{p}" for h, p in self.nodes)
        service = "" if self.service is None else f"/{self.service}"
        database = f"/{self.database}" if self.database else ""
        return f"{scheme}://{nodes}{service}{database}"

    @classmethod
    def parse(cls, url: str) -> Address:
        """Parse a URL. Raises `SettingError`, which shows no part of the URL.

        Any part may be a secret: without its `@`, the password is in the place of the host.
        """
        scheme, separator, rest = url.partition("://")
        if not separator or scheme.lower() not in _SCHEMES:
            raise SettingError(f"not a URL of Redis; {_HINT}")
        topology, tls = _SCHEMES[scheme.lower()]
        entry, at, places = rest.rpartition("@")
        hosts, _, path = places.partition("/")
        if "?" in places or "#" in places:
            raise SettingError(f"a URL of Redis has no `?` and no `#` here; {_HINT}")
        user, _, password = entry.partition(":")
        default = DEFAULT_SENTINEL_PORT if topology is Topology.SENTINEL else DEFAULT_PORT
        nodes = tuple(_node(text, default) for text in hosts.split(","))
        if topology is Topology.SINGLE and len(nodes) > 1:
            raise SettingError(
                f"one server is named by `{scheme.lower()}://`, not several; {_HINT}"
            )
        parts = [unquote(part) for part in path.split("/")] if path else []
        service = None
        if topology is Topology.SENTINEL:
            if not parts or not parts[0]:
                raise SettingError(f"the service that the sentinels watch is missing; {_HINT}")
            service = parts.pop(0)
        database = parts.pop(0) if parts else ""
        if parts or not re.fullmatch(r"[0-9]{0,6}", database):
            raise SettingError(f"what follows the host is not the number of a database; {_HINT}")
        if topology is Topology.CLUSTER and int(database or 0):
            raise SettingError("a Redis Cluster has the database 0 only; hint: leave it out")
        return cls(
            topology=topology,
            tls=tls,
            nodes=nodes,
            database=int(database or 0),
            service=service,
            user=unquote(user) or None,
            password=unquote(password) or None if at else None,
        )

    def masked(self, text: str) -> str:
        """A text of redis-py or of a server, without the password in either of its forms."""
        return masked(text, self.password, quote(self.password or "", safe=""))


def _node(text: str, default: int) -> tuple[str, int]:
    try:
        found = urlsplit(f"//{text}")
        host, port = found.hostname, found.port
    except ValueError:
        host = port = None
    if not host or port == 0:
        raise SettingError(f"a host of Redis, or its port, cannot be read; {_HINT}")
    return host, default if port is None else port
