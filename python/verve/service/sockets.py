"""Sockets by which several workers of a host share an address."""

from __future__ import annotations

import socket

BACKLOG = 4_096
"""Maximum number of connections that wait for a worker, per socket."""


def bind(host: str, port: int, backlog: int = BACKLOG) -> socket.socket:
    """Listen at a numeric address that other workers may share. Raises `OSError`."""
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
    """Return host and port of an address `host:port`, without the brackets of IPv6."""
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)
