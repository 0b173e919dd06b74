"""What `verve callback` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from verve._verve import VerveError, diagnose_callback
from verve.service import callbacks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from verve.config import Settings

_SUCCESS = range(200, 300)
_HINTS = {
    "address refused": "VERVE_CALLBACK_ALLOW opens internal destinations",
    "TLS: the certificate is of an unknown authority": (
        "VERVE_CALLBACK_CA names a file with that authority"
    ),
    "TLS: the receiver refuses our certificate": (
        "VERVE_CALLBACK_CERTIFICATE names the one to show"
    ),
    "TLS: the receiver does not speak it": "the URL of such a receiver begins with http://",
    "proxy not reached": "VERVE_CALLBACK_PROXY names it",
    "proxy wants a user and a password": ("VERVE_CALLBACK_PROXY=http://user:password@host:port"),
}
"""What to do about some failures, by their words."""


def test(settings: Settings, url: str, count: int) -> tuple[dict[str, str], bool]:
    """Send one callback: what was found, and whether the receiver took it."""
    found = diagnose_callback(url, count, **callbacks.options(settings))
    shown = {"endpoint": found["endpoint"] or url}
    if found["refusal"] is not None:
        shown["guard"] = f"refused: {found['refusal']}"
        if found["refusal"] in {"endpoint address", "endpoint not listed"}:
            shown["hint"] = "VERVE_CALLBACK_ALLOW opens internal destinations"
        return shown, False
    shown["guard"] = "the URL is fine"
    if found["resolver_error"] is not None:
        shown["addresses"] = f"none: {found['resolver_error']}"
    for number, (address, permitted) in enumerate(found["addresses"], 1):
        shown[f"address {number}"] = f"{address} {'permitted' if permitted else 'refused'}"
    if settings.callback_proxy is not None:
        shown["proxy"] = "connects in the place of this host, whatever the addresses are"
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
    """The newest failures, newest first."""
    try:
        found = callbacks.failures(settings)
    except OSError as error:
        path = callbacks.failures_path(settings)
        raise VerveError(f"cannot read the failures: {error.strerror}: `{path}`") from error
    return found[::-1][:limit]


def lines(found: list[Mapping[str, Any]]) -> Iterator[str]:
    """A line for each failure."""
    for one in found:
        parts = [
            f"{one['outcome']:<9}",
            f"{one['status'] or '-':<3}",
            f"{one['attempt']} attempts",
            one["reason"],
            one["endpoint"],
        ]
        yield "  ".join([str(one["time"]), *parts])
