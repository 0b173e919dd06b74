"""A network of its own in which every address is this machine, to see whom callbacks connect to.

    unshare --net --mount python -m tests.support.egress.network DIRECTORY

In it, a DNS server answers the system's resolver, and a catcher takes every connection to any
address and notes which one it was made for. Services run here as anywhere; what was seen goes to
standard output as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import itertools
import json
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import quote

from tests.support.egress.corpus import LISTED, Names, urls
from tests.support.service import ACCEPT, Server, Service

if TYPE_CHECKING:
    from collections.abc import Iterable

PORTS = (80, 443, 8000, 8080, 8443)
_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


def make_network(directory: Path) -> None:
    """Every address is local, and names are asked of 127.0.0.1."""
    resolver = directory / "resolv.conf"
    resolver.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:2\n")
    for command in (
        ["ip", "link", "set", "lo", "up"],
        ["ip", "route", "add", "local", "0.0.0.0/0", "dev", "lo"],
        ["ip", "-6", "route", "add", "local", "::/0", "dev", "lo"],
        ["mount", "--bind", str(resolver), "/etc/resolv.conf"],
    ):
        subprocess.run(command, check=True)


class Catcher:
    """Takes connections to all addresses, and answers each with 200."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def start(self) -> None:
        """Listen."""
        for port in PORTS:
            # IPv4 comes to the same listener, as a mapped address.
            listener = socket.create_server(
                ("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1_024
            )
            await asyncio.start_server(self._serve, sock=listener)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address = ipaddress.IPv6Address(writer.get_extra_info("sockname")[0].partition("%")[0])
        self.seen.append(str(address.ipv4_mapped or address))
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(_ANSWER)
            await writer.drain()
        writer.close()


class Nameserver(asyncio.DatagramProtocol):
    """Answers A and AAAA by `Names`, without a time to live."""

    def __init__(self, names: Names) -> None:
        self._names = names

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        """Answer one question."""
        labels, at = [], 12
        while length := data[at]:
            labels.append(data[at + 1 : at + 1 + length].decode())
            at += 1 + length
        question = data[12 : at + 5]
        (kind,) = struct.unpack_from(">H", data, at + 1)
        family = {1: 4, 28: 6}.get(kind, 0)
        found = self._names.look_up(".".join(labels).lower(), family)
        answers = b"".join(
            struct.pack(">HHHIH", 0xC00C, kind, 1, 0, len(one.packed)) + one.packed for one in found
        )
        head = struct.pack(">HHHHHH", *struct.unpack_from(">H", data), 0x8180, 1, len(found), 0, 0)
        self._transport.sendto(head + question + answers, address)


def ask(service: Service, endpoints: Iterable[str], numbers: Iterable[int]) -> dict[str, str]:
    """Ask for a callback to each: `ok`, or the reason."""
    answers = {}
    for endpoint, number in zip(endpoints, numbers, strict=False):
        target = f"{ACCEPT}?id={number}&endpoint={quote(endpoint, safe='')}"
        response = service.get(target)
        answers[endpoint] = response.headers.get("verve-error", response.text)
    return answers


def settle(service: Service) -> dict[str, float]:
    """Wait until nothing is to be sent; the ends of callbacks by how."""
    service.wait_until(lambda: service.metrics()["verve_callbacks_pending"] == 0, 90, "settled")
    ends = {name: n for name, n in service.metrics().items() if "callbacks_total" in name}
    return {name.split('"')[1]: number for name, number in ends.items()}


def main() -> None:
    """Ask for all, and print what was seen."""
    directory = Path(sys.argv[1])
    make_network(directory)
    names, catcher = Names(), Catcher()
    started = threading.Event()

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: Nameserver(names), ("127.0.0.1", 53))
        await catcher.start()
        started.set()
        await asyncio.Event().wait()

    threading.Thread(target=asyncio.run, args=(serve(),), daemon=True).start()
    assert started.wait(10)
    numbers = itertools.count(1)
    result: dict[str, object] = {}
    common = {"VERVE_CALLBACKS": "public"}
    with Service(directory / "plain", Server.VERVE, environment=common) as service:
        answers = ask(service, urls(names), numbers)
        # Again and again: some names have another address each time.
        for _ in range(10):
            ask(service, names.rebinding(), numbers)
        result["plain"] = {"answers": answers, "ends": settle(service), "seen": catcher.seen}
    catcher.seen = []
    listed = {**common, "VERVE_CALLBACK_ALLOW": ",".join(LISTED)}
    with Service(directory / "listed", Server.VERVE, environment=listed) as service:
        answers = ask(service, names.around_the_list(), numbers)
        result["listed"] = {"answers": answers, "ends": settle(service), "seen": catcher.seen}
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    main()
