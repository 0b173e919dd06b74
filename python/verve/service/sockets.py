"""Sockets that several workers of a host listen on beside one another."""

from __future__ import annotations

import socket

BACKLOG = 4_096
"""Connections that wait for a worker."""


def bind(host: str, port: int, backlog: int = BACKLOG) -> socket.socket:
    """Listen at a numeric address, beside other workers. Raises `OSError`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((host, port))
        bound.listen(backlog)
    except OSError:
        bound.close()
        raise
    return bound


def split(address: str) -> tuple[str, int]:
    """Host and port of an address `host:port`, without the brackets of IPv6."""
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)
