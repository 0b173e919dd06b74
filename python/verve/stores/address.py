"""Where Redis is: what `VERVE_REDIS_URL` says, read without asking anybody."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import quote, unquote, urlsplit

from verve._verve import SettingError

DEFAULT_PORT = 6379
DEFAULT_SENTINEL_PORT = 26379
_HINT = (
    "hint: `redis://[user:password@]host:6379[/0]`, `rediss://...` for TLS, "
    "`redis+cluster://host:6379,host:6379`, `redis+sentinel://host:26379,host:26379/<service>[/0]`"
)


class Kind(StrEnum):
    """How the servers belong together."""

    SINGLE = "single"
    CLUSTER = "cluster"
    SENTINEL = "sentinel"


_SCHEMES = {
    "redis": (Kind.SINGLE, False),
    "rediss": (Kind.SINGLE, True),
    "redis+cluster": (Kind.CLUSTER, False),
    "rediss+cluster": (Kind.CLUSTER, True),
    "redis+sentinel": (Kind.SENTINEL, False),
    "rediss+sentinel": (Kind.SENTINEL, True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """The servers to begin with, and how to enter. `service` is the name that sentinels know."""

    kind: Kind
    tls: bool
    nodes: tuple[tuple[str, int], ...]
    database: int = 0
    service: str | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def shown(self) -> str:
        """The URL without its secrets."""
        scheme = next(name for name, value in _SCHEMES.items() if value == (self.kind, self.tls))
        nodes = ",".join(f"[{h}]:{p}" if ":" in h else f"{h}:{p}" for h, p in self.nodes)
        service = "" if self.service is None else f"/{self.service}"
        database = f"/{self.database}" if self.database else ""
        return f"{scheme}://{nodes}{service}{database}"

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read a URL. Raises `SettingError`, which shows nothing that may be a secret."""
        scheme, separator, rest = url.partition("://")
        if not separator or scheme.lower() not in _SCHEMES:
            raise _refused("it does not begin as one")
        kind, tls = _SCHEMES[scheme.lower()]
        entry, at, places = rest.rpartition("@")
        if "?" in places or "#" in places:
            raise _refused("it has a `?` or a `#`")
        hosts, _, path = places.partition("/")
        user, _, password = entry.partition(":")
        default = DEFAULT_SENTINEL_PORT if kind is Kind.SENTINEL else DEFAULT_PORT
        nodes = tuple(
            _node(text, number, default) for number, text in enumerate(hosts.split(","), 1)
        )
        if kind is Kind.SINGLE and len(nodes) > 1:
            raise _refused("it names several servers")
        parts = [unquote(part) for part in path.split("/")] if path else []
        service = None
        if kind is Kind.SENTINEL:
            if not parts or not parts[0]:
                raise _refused("it does not name the service that the sentinels watch")
            service = parts.pop(0)
        database = parts.pop(0) if parts else ""
        if parts or not re.fullmatch(r"[0-9]{0,6}", database):
            raise _refused("what stands behind the host is no number of a database")
        if kind is Kind.CLUSTER and int(database or 0):
            raise _refused("a Redis Cluster has no database but 0")
        return cls(
            kind=kind,
            tls=tls,
            nodes=nodes,
            database=int(database or 0),
            service=service,
            user=unquote(user) or None,
            password=unquote(password) or None if at else None,
        )

    def masked(self, text: str) -> str:
        """`text` without the password, in both forms: it is to be logged."""
        if self.password:
            for secret in (self.password, quote(self.password, safe="")):
                text = text.replace(secret, "***")
        return text


def _node(text: str, number: int, default: int) -> tuple[str, int]:
    try:
        found = urlsplit(f"//{text}")
        host, port = found.hostname, found.port
    except ValueError:
        host = port = None
    if not host or port == 0 or not text.rpartition(":")[2].rstrip("]"):
        raise _refused(f"host {number} of it cannot be read")
    return host, default if port is None else port


def _refused(why: str) -> SettingError:
    """The error for a URL, of which nothing is shown: a password may stand anywhere in it."""
    return SettingError(f"the setting `redis_url` is no URL of Redis, {why}: `***`; {_HINT}")
