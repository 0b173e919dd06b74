"""Access to metrics, history and current figures: the guarded routes.

The accept route and the health checks are open to every client. If a token is set, the guarded
routes require it from every client: a proxy on this host may call the service by a loopback name
and add no header (nginx with only `proxy_pass` does), so its clients look like local ones. During a
rotation there are two tokens, and either one gives access.

Without a token, the guarded routes answer only a client on the same host that uses a loopback name.
The name matters because a web page that points its own name at 127.0.0.1 (DNS rebinding) sends that
name as Host. A request with a proxy's header is rejected too. `VERVE_ADMIN=open` lifts the rule.
"""

from __future__ import annotations

import hmac
import ipaddress
from enum import Enum
from typing import TYPE_CHECKING

from verve.config.choices import Admin

from .exchange import json_error

if TYPE_CHECKING:
    from collections.abc import Iterable

    from verve.config import Settings

    from .exchange import Request, Response

# The headers that proxies add. A Unix socket needs none: its peer is no loopback address.
_PROXY_HEADERS = frozenset(
    {
        "cf-connecting-ip",
        "forwarded",
        "true-client-ip",
        "via",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-real-ip",
    }
)
_PROXY_PREFIXES = ("x-envoy-", "x-forwarded-", "x-original-")


class Rule(Enum):
    """The rule in force; the value is the text of the log line."""

    OPEN = "open to everyone"
    TOKEN = "open with the token only"  # noqa: S105 - a text, not a password
    LOOPBACK = (
        "open on loopback only; hint: a proxy on this host opens them to its callers, "
        "behind one set `VERVE_ADMIN_TOKEN`"
    )


class Access:
    """Decides by one rule which requests have access."""

    def __init__(self, *, everyone: bool, tokens: Iterable[str] | None) -> None:
        self._tokens = tuple(token.encode() for token in tokens or ())
        # A token applies even if the settings open the guarded routes to everyone.
        if self._tokens:
            self.rule = Rule.TOKEN
        else:
            self.rule = Rule.OPEN if everyone else Rule.LOOPBACK

    @classmethod
    def of(cls, settings: Settings) -> Access:
        """Return the access that the settings define."""
        return cls(everyone=settings.admin is Admin.OPEN, tokens=settings.admin_token)

    def refusal(self, request: Request) -> Response | None:
        """Return None if this request has access, else its answer: 401 with a hint."""
        if self._may_look(request):
            return None
        hint = "send `authorization: Bearer <VERVE_ADMIN_TOKEN>`"
        if self.rule is Rule.LOOPBACK:
            hint = (
                "ask by a loopback name on the same host, or set `VERVE_ADMIN_TOKEN`, "
                "or `VERVE_ADMIN=open`"
            )
        challenge = ("www-authenticate", 'Bearer realm="verve"')
        return json_error(401, "this is not open to you", hint, challenge)

    def _may_look(self, request: Request) -> bool:
        match self.rule:
            case Rule.OPEN:
                return True
            case Rule.TOKEN:
                return self._has_token(request)
            case Rule.LOOPBACK:
                return _local(request)

    def _has_token(self, request: Request) -> bool:
        values = request.header("authorization")
        if len(values) != 1:
            return False
        scheme, _, text = values[0].partition(" ")
        given = text.strip().encode(errors="replace")
        # A list: each token is compared, so that the time does not tell which one is right.
        same = [hmac.compare_digest(given, token) for token in self._tokens]
        return any(same) and scheme.lower() == "bearer"


def _local(request: Request) -> bool:
    if not _loopback_address(request.peer):
        return False
    # By name, because a server may leave out a value: a client that sends a byte that is not ASCII
    # spoils the value to which its proxy appends the address.
    if any(_of_a_proxy(name) for name in request.header_names()):
        return False
    hosts = request.hosts()
    return bool(hosts) and all(_loopback_name(host) for host in hosts)


def _of_a_proxy(name: str) -> bool:
    return name in _PROXY_HEADERS or name.startswith(_PROXY_PREFIXES)


def _loopback_address(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    # A listener on `[::]` sees IPv4 clients as `::ffff:127.0.0.1`.
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _loopback_name(host: str) -> bool:
    """Whether a Host header, with or without port, names the loopback interface."""
    if host.startswith("["):
        name, closed, port = host[1:].partition("]")
        return bool(closed) and _port(port) and _loopback_address(name)
    name, colon, port = host.partition(":")
    named = name.lower().removesuffix(".") == "localhost"
    return _port(colon + port) and (named or _loopback_address(name))


def _port(text: str) -> bool:
    """Whether the text is empty, a colon, or a colon and digits."""
    return not text or (text[0] == ":" and text[1:].isascii() and (text[1:] or "0").isdigit())
