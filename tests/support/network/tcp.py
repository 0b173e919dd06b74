"""The TCP connections of this machine, as the kernel lists them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Connection(NamedTuple):
    """One end of an IPv4 connection, or a socket that listens."""

    local: int
    """The port of this end."""
    remote: int
    """The port of the other end, or 0 of a socket that listens."""
    inode: str
    """That of the socket, or "0" without one: not accepted yet, or closed by its owner."""


def connections() -> list[Connection]:
    """All of them, each with a row for either end that is on this machine."""
    rows = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    return [
        Connection(_port(fields[1]), _port(fields[2]), fields[9]) for fields in map(str.split, rows)
    ]


def _port(address: str) -> int:
    return int(address.partition(":")[2], 16)
