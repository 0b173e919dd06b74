"""URLs and names that lead inside, in every form that some parser takes."""

from __future__ import annotations

import ipaddress
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    Address = ipaddress.IPv4Address | ipaddress.IPv6Address

PUBLIC = "93.184.215.14"
PUBLIC_6 = "2606:2800:21f::1"
INNER_4 = (
    "0.0.0.0",  # noqa: S104 - an address that must not be reached
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.1.2.3",
    "168.63.129.16",
    "169.254.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.254",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
)
INNER_6 = (
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:10.0.0.1",
    "::10.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b:1::10.0.0.1",
    "2002:7f00:1::1",
    "2002:a9fe:a9fe::1",
    "2001::1",
    "2001:db8::1",
    "3fff::1",
    "5f00::1",
    "100::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
)
LISTED = ("10.1.0.0/16", "192.168.7.9", "fd12::/16", "hooks.test", "*.svc.test")
"""The list of the second service."""


def _forms(text: str) -> Iterator[str]:
    """One IPv4 address as a host, in all spellings."""
    address = ipaddress.IPv4Address(text)
    a, b, c, d = address.packed
    number = int(address)
    yield text
    yield f"{text}."
    yield str(number)
    yield hex(number)
    yield oct(number).replace("0o", "0")
    yield ".".join(map(hex, address.packed))
    yield ".".join(f"0{byte:o}" for byte in address.packed)
    yield ".".join(f"{byte:03}" for byte in address.packed)
    yield f"{a}.{number & 0xFFFFFF}"
    yield f"{a}.{b}.{c << 8 | d}"
    yield f"0x{a:x}.{b}.0{c:o}.{d}"
    yield "".join(f"%{ord(char):02x}" for char in text)
    yield text.translate({ord(str(digit)): 0xFF10 + digit for digit in range(10)})
    yield text.replace(".", "\u3002")
    yield text.replace(".", "\uff0e")
    yield f"x@{text}"
    yield f"8.8.8.8@{text}"
    yield f"{text}\\@8.8.8.8"
    yield f"[{text}]"
    yield f"[::ffff:{text}]"
    yield f"[::ffff:{a:x}{b:02x}:{c:x}{d:02x}]"
    yield f"[::{text}]"
    yield f"[64:ff9b::{text}]"
    yield f"[2002:{a:x}{b:02x}:{c:x}{d:02x}::1]"
    yield f"{text}%00.example"
    yield f"{text}#@8.8.8.8"
    yield f" {text}"
    yield f"{text}\t"


def urls(names: Names) -> list[str]:
    """All of them."""
    found = [f"http://{form}/" for inner in INNER_4 for form in _forms(inner)]
    found += [f"http://{form}:8080/latest/" for form in _forms("169.254.169.254")]
    for inner in INNER_6:
        address = ipaddress.IPv6Address(inner)
        forms = (
            inner,
            address.exploded,
            address.compressed.upper(),
            f"{inner}%25eth0",
            f"{inner}%1",
        )
        found += [f"http://[{form}]/" for form in forms]
    loopback = (
        "localhost",
        "LOCALHOST",
        "localhost.",
        "a.localhost",
        "ip6-localhost",
        "localhost6",
    )
    found += [f"https://{name}:8443/" for name in loopback]
    return [*dict.fromkeys(found), *names.inner(), *names.mixed(), *names.rebinding()]


class Names:
    """The names of the test's own DNS: what they resolve to stands in them, or changes."""

    def __init__(self) -> None:
        self._asked: Counter[tuple[str, int]] = Counter()
        self._zone: dict[str, list[list[str]]] = {}
        for number, inner in enumerate((*INNER_4, *INNER_6)):
            self._zone[f"inner-{number}.test"] = [[inner]]
            self._zone[f"mixed-{number}.test"] = [[inner, PUBLIC, PUBLIC_6]]
            # The public address first, for who checks; then the other, for who connects.
            self._zone[f"rebinding-{number}.test"] = [[PUBLIC], [inner]]
            self._zone[f"rebound-{number}.test"] = [[inner], [PUBLIC, PUBLIC_6]]
        self._zone["mixed-of-six.test"] = [["::1", PUBLIC_6, "fe80::9"]]
        self._zone |= {name: [addresses] for name, addresses in self._around.items()}

    _around = {  # noqa: RUF012 - read only
        "a.test": ["10.1.2.3"],
        "b.test": ["10.2.2.3"],
        "c.test": ["192.168.7.9"],
        "d.test": ["192.168.7.8"],
        "e.test": ["fd12::5"],
        "f.test": ["fd13::5"],
        "g.test": ["::ffff:10.1.2.4"],
        "hooks.test": ["10.9.9.1", "169.254.169.254", "100.100.100.200", "fe80::7"],
        "x.hooks.test": ["10.9.9.2"],
        "hooks.test.test": ["10.9.9.3"],
        "y.svc.test": ["172.16.9.4", "fd99::4", "fd00:ec2::254", "168.63.129.16"],
        "z.y.svc.test": ["127.0.0.9"],
        "svc.test": ["10.9.9.5"],
        "asvc.test": ["10.9.9.6"],
        "i.test": [PUBLIC],
    }
    REACHED = frozenset(
        {"10.1.2.3", "192.168.7.9", "fd12::5", "10.9.9.1", "127.0.0.9", "10.1.7.7", PUBLIC}
    )
    """What the list opens, but for the host that has two such addresses."""
    REACHED_ONE_OF = frozenset({"172.16.9.4", "fd99::4"})

    def inner(self) -> list[str]:
        """Names that have inner addresses only."""
        return [f"http://{name}/" for name in self._zone if name.startswith("inner")]

    def mixed(self) -> list[str]:
        """Names that have public addresses too."""
        return [f"http://{name}/" for name in self._zone if name.startswith("mixed")]

    def rebinding(self) -> list[str]:
        """Names whose addresses change from look-up to look-up."""
        return [f"http://{name}/" for name in self._zone if name.startswith("reb")]

    def around_the_list(self) -> list[str]:
        """What the list names, and what is next to it."""
        literals = [
            "10.1.7.7",
            "10.2.7.7",
            "192.168.7.8",
            "169.254.169.254",
            "127.0.0.1",
            "[fd13::1]",
        ]
        return [f"http://{host}/" for host in (*self._around, *literals)]

    def look_up(self, name: str, family: int) -> list[Address]:
        """The addresses of that family, this time."""
        answers = self._zone.get(name, [[]])
        turn = self._asked[name, family]
        self._asked[name, family] += 1
        addresses = map(ipaddress.ip_address, answers[turn % len(answers)])
        return [address for address in addresses if address.version == family]


def corpus_size() -> int:
    """How many forms there are."""
    return len(set(urls(Names())))
