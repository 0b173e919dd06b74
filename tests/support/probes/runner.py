"""Sends the probes to a server, each over a connection of its own, and reads its answers."""

from __future__ import annotations

import contextlib
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tests.support.probes.bodies import CHUNKS, CODINGS, LENGTHS, SEQUENCES
from tests.support.probes.fields import FIELDS
from tests.support.probes.lines import LINES
from tests.support.probes.probe import HOST, Probe, Reading, ids
from tests.support.service import ACCEPT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CLASSES: Mapping[str, tuple[Probe, ...]] = {
    "Request lines": LINES,
    "Fields": FIELDS,
    "Lengths": LENGTHS,
    "Codings": CODINGS,
    "Chunks and trailers": CHUNKS,
    "Requests after requests": SEQUENCES,
}
PROBES = tuple(probe for its in CLASSES.values() for probe in its)

QUIET_SECONDS = 0.7
"""After so long without a byte, a server waits for more of the request, ..."""
SURE_SECONDS = 4.0
"""... or after so long, when that is not what was expected."""
_AT_ONCE = 24


def read_all(
    port: int,
    is_expected: Callable[[Probe, str], bool],
    probes: tuple[Probe, ...] = PROBES,
) -> dict[str, Reading]:
    """What the server at `port` made of each probe, by name.

    Where `is_expected` says no to a cell, the server gets more time.
    """
    base = int.from_bytes(os.urandom(4)) * 100 + 10**11
    numbered = {probe.name: base + 10 * at for at, probe in enumerate(probes)}

    def read(probe: Probe) -> Reading:
        # Another try has other ids.
        found = _read(port, probe, numbered[probe.name], QUIET_SECONDS)
        if found.waits and not is_expected(probe, found.cell):
            found = _read(port, probe, numbered[probe.name] + 3, SURE_SECONDS)
        return found

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return dict(zip((probe.name for probe in probes), pool.map(read, probes), strict=True))


def _read(port: int, probe: Probe, base: int, quiet: float) -> Reading:
    received, waits = _exchange(port, probe.sent(base), quiet)
    # Before the connection ends: no reader of what it sent last may count later.
    seen = _counted(port, base)
    statuses = tuple(status for status in _statuses(received) if status >= 200)
    return Reading(_short(statuses), "".join(seen), waits, base)


def _short(statuses: tuple[int, ...]) -> tuple[int, ...]:
    """Many equal answers in a row as three."""
    kept: list[int] = []
    for status in statuses:
        if kept[-3:] != [status] * 3:
            kept.append(status)
    return tuple(kept)


def _exchange(port: int, sent: bytes, quiet: float) -> tuple[bytes, bool]:
    """What the server sent until it closed the connection, or was silent for `quiet` seconds."""
    received = bytearray()
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        # A server that has refused a request need not read the rest.
        with contextlib.suppress(OSError):
            connection.sendall(sent)
        connection.settimeout(quiet)
        try:
            while part := connection.recv(65_536):
                received += part
        except TimeoutError:
            return bytes(received), True
        except ConnectionResetError:
            pass
    return bytes(received), False


def _statuses(received: bytes) -> list[int]:
    """The statuses of the answers, each taken apart by its length."""
    found = []
    while received.startswith(b"HTTP/1."):
        head, _, received = received.partition(b"\r\n\r\n")
        status = int(head[9:12])
        # What is too large, the line or the head, depends on how much has arrived.
        found.append(431 if status == 414 else status)
        fields = dict(
            line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line
        )
        length = fields.get(b"content-length")
        if length is not None and not received.startswith(b"HTTP/1."):  # as after HEAD
            received = received[int(length) :]
        elif fields.get(b"transfer-encoding") == b"chunked":
            received = received[received.find(b"0\r\n\r\n") + 5 :]
    # What is left is an answer of HTTP/0.9, or of HTTP/2 to its preface.
    return found


def _counted(port: int, base: int) -> list[str]:
    """The letters of the ids from `base` on that have been counted."""
    ends = ("", "", "Connection: close\r\n")
    asked = "".join(
        f"GET {ACCEPT}?id={id}&verdict=1 HTTP/1.1\r\n{HOST}{end}\r\n"
        for id, end in zip(ids(base), ends, strict=True)
    ).encode()
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(asked)
        received = bytearray()
        while part := connection.recv(65_536):
            received += part
    heads = bytes(received).lower().split(b"http/1.1 200")[1:]
    assert len(heads) == 3, received
    return [letter for letter, head in zip("ABC", heads, strict=True) if b"duplicate" in head]
