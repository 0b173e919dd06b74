"""The output of `verve callback`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from verve._verve import VerveError, diagnose_callback
from verve.service import callbacks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from verve.config import Settings

_SUCCESS = range(200, 300)
_HINTS = {
    "address refused": "add internal destinations to VERVE_CALLBACK_ALLOW",
    "TLS: the certificate is of an unknown authority": (
        "set VERVE_CALLBACK_CA to a file with that authority"
    ),
    "TLS: the receiver refuses our certificate": (
        "set VERVE_CALLBACK_CERTIFICATE to a certificate that the receiver accepts"
    ),
    "TLS: the receiver does not speak it": "use a URL that begins with http://",
    "proxy not reached": "check VERVE_CALLBACK_PROXY",
    "proxy wants a user and a password": (
        "set VERVE_CALLBACK_PROXY=http://user:password@host:port"
    ),
}
"""Hints for some failures, by the name of the failure."""


def test(settings: Settings, url: str, count: int) -> tuple[dict[str, str], bool]:
    """Send one callback. Returns the lines to print, and whether the receiver answered 2xx."""
    found = diagnose_callback(url, count, **callbacks.options(settings))
    shown = {"endpoint": found["endpoint"] or url}
    if found["refusal"] is not None:
        shown["policy"] = f"refused: {found['refusal']}"
        if found["refusal"] in {"endpoint address", "endpoint not listed"}:
            shown["hint"] = _HINTS["address refused"]
        return shown, False
    shown["policy"] = "the URL is permitted"
    if found["resolver_error"] is not None:
        shown["addresses"] = f"none: {found['resolver_error']}"
    for number, (address, permitted) in enumerate(found["addresses"], 1):
        shown[f"address {number}"] = f"{address} {'permitted' if permitted else 'refused'}"
    if settings.callback_proxy is not None:
        shown["proxy"] = "the proxy connects, and resolves the name itself"
    if url.lower().startswith("https:"):
        shown["trusted authorities"] = str(found["authorities"])
    milliseconds = found["seconds"] * 1000
    if found["status"] is None:
        proxy_status = "" if found["proxy_status"] is None else f" ({found['proxy_status']})"
        shown["answer"] = f"none after {milliseconds:.0f} ms: {found['failure']}{proxy_status}"
        if found["failure"] in _HINTS:
            shown["hint"] = _HINTS[found["failure"]]
        return shown, False
    shown["answer"] = f"{found['status']} after {milliseconds:.0f} ms"
    return shown, found["status"] in _SUCCESS


def failed(settings: Settings, limit: int) -> list[Mapping[str, Any]]:
    """At most `limit` failed callbacks, newest first. Raises `VerveError`."""
    try:
        found = callbacks.failures(settings)
    except OSError as error:
        path = callbacks.failures_path(settings)
        raise VerveError(f"cannot read the failed callbacks: {error.strerror}: `{path}`") from error
    return found[::-1][:limit]


def lines(found: list[Mapping[str, Any]]) -> Iterator[str]:
    """One line per failed callback."""
    for one in found:
        parts = [
            f"{one['outcome']:<9}",
            f"{one['status'] or '-':<3}",
            f"{one['attempt']} attempts",
            one["reason"],
            one["endpoint"],
        ]
        yield "  ".join([str(one["time"]), *parts])
