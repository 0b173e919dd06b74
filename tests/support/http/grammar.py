"""A model of what the accept family takes: written from the description, slow and plain."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

_LIMITS = (-(2**63), 2**63 - 1)
_JSON_BLANK = r"[ \t\r\n]*"
_JSON_NUMBER = re.compile(r"(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?")
_MANY_DIGITS = 60


class RefusedError(Exception):
    """The input is refused for `reason`; in a batch, for the id at `position`."""

    def __init__(self, reason: str, position: int | None = None) -> None:
        super().__init__(reason, position)
        self.reason = reason
        self.position = position


@dataclass(frozen=True, slots=True)
class Asked:
    """What a query asks for."""

    id: int
    verdict: bool
    endpoint: bytes | None
    """Decoded, whether or not it is one."""


def read_query(text: str) -> Asked:
    """Read a query, or raise `RefusedError`."""
    ids: list[bytes] = []
    endpoints: list[bytes] = []
    verdict = False
    for pair in text.encode().split(b"&"):
        name, _, value = (unquote_to_bytes(part) for part in pair.partition(b"="))
        if name == b"id":
            ids.append(value)
        elif name == b"endpoint" and value:
            endpoints.append(value)
        elif name == b"verdict" and value == b"1":
            verdict = True
    if not ids:
        raise RefusedError("id missing")
    if len(ids) > 1:
        raise RefusedError("id repeated")
    id = read_id(ids[0])
    if len(endpoints) > 1:
        raise RefusedError("endpoint repeated")
    return Asked(id, verdict, endpoints[0] if endpoints else None)


def read_id(text: bytes, position: int | None = None) -> int:
    """Read one id, or raise `RefusedError`."""
    match = re.fullmatch(rb"(-?)([0-9]+)", text)
    if match is None:
        raise RefusedError("id invalid", position)
    # Python refuses to read numbers of thousands of digits.
    digits = match[2].lstrip(b"0")
    id = int(match[1] + b"0" + digits) if len(digits) < 20 else 10**20
    if not _LIMITS[0] <= id <= _LIMITS[1]:
        raise RefusedError("id out of range", position)
    return id


def read_batch(kind: str, body: bytes) -> list[int]:
    """Read a body, or raise `RefusedError`."""
    readers = {"binary": _read_binary, "json": _read_json, "text": _read_text}
    return readers[kind](body)


def _read_binary(body: bytes) -> list[int]:
    if len(body) % 8:
        raise RefusedError("body invalid", len(body) // 8)
    words = (body[start : start + 8] for start in range(0, len(body), 8))
    return [int.from_bytes(word, "little", signed=True) for word in words]


def _read_text(body: bytes) -> list[int]:
    *lines, last = body.split(b"\n")
    ids = [read_id(line.removesuffix(b"\r"), index) for index, line in enumerate(lines)]
    if last:
        ids.append(read_id(last, len(ids)))
    return ids


def _read_number(text: str, position: int) -> int:
    """Read an integer of JSON: a number, in any of its forms, whose value has no fraction."""
    match = _JSON_NUMBER.fullmatch(text)
    if match is None:
        raise RefusedError("id invalid", position)
    sign, whole, fraction, exponent = match.groups(default="")
    digits = (whole + fraction).lstrip("0").rstrip("0")
    if not digits:
        return 0
    # Python refuses to read thousands of digits.
    power = exponent.lstrip("+-").lstrip("0")[:9] or "0"
    shift = (-int(power) if exponent.startswith("-") else int(power)) - len(fraction)
    shift += len(whole + fraction) - len((whole + fraction).rstrip("0"))
    if shift < 0:
        raise RefusedError("id invalid", position)
    return read_id(f"{sign}{digits}{'0' * min(shift, _MANY_DIGITS)}".encode(), position)


def _read_json(body: bytes) -> list[int]:
    text = body.decode("latin-1")
    start = re.match(rf"{_JSON_BLANK}\[{_JSON_BLANK}", text)
    if start is None:
        raise RefusedError("body invalid", 0)
    if end := re.compile(rf"\]{_JSON_BLANK}").match(text, start.end()):
        if end.end() < len(text):
            raise RefusedError("body invalid", 0)
        return []
    ids: list[int] = []
    item = re.compile(rf"([^ \t\r\n,\]]*){_JSON_BLANK}")
    at = start.end()
    while match := item.match(text, at):
        ids.append(_read_number(match[1], len(ids)))
        rest = text[match.end() :]
        if re.fullmatch(rf"\]{_JSON_BLANK}", rest):
            return ids
        comma = re.match(rf",{_JSON_BLANK}", rest)
        if comma is None:
            break
        at = match.end() + comma.end()
    raise RefusedError("body invalid", len(ids))


def judge_endpoint(scheme: str, userinfo: str, host: str, port: int | None) -> str | None:
    """Why an endpoint of these parts is refused; None: it is taken.

    `host` is an address as `ipaddress` writes it, IPv6 in brackets, or a name that is fine.
    """
    if scheme.lower() not in {"http://", "https://"}:
        return "endpoint invalid"
    if userinfo:
        return "endpoint userinfo"
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        pass
    else:
        if is_refused(address):
            return "endpoint address"
    return "endpoint port" if port in _PORTS else None


def is_refused(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether a callback must not reach an address."""
    if any(address in network for network in _NETWORKS):
        return True
    return address.version == 6 and address not in ipaddress.ip_network("2000::/3")


_NETWORKS = [
    ipaddress.ip_network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32"),
        *("169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24"),
        *("192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4"),
        *("240.0.0.0/4", "::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96"),
        *("64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
        *("5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"),
    )
]

_PORTS = {0, 1, 7, 22, 25, 53, 110, 2049, 5060, 6000, 6667, 10080}
"""Some of the ports that browsers refuse."""
