"""Free ports of the loopback, for the servers that tests start."""

from __future__ import annotations

import contextlib
import os
import random
import socket

_FIRST, _LAST = 11_000, 20_999
BUS = 10_000
"""Distance from the port of a Redis Cluster node to the port of its bus."""
_LANES = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_LANE = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_given: set[int] = set()
# The shared generator is seeded anew for each test, and would give the same ports again.
_random = random.SystemRandom()


def free_port(*beside: int) -> int:
    """A port on which no process listens; nor does one on the ports `beside` above it.

    A test may stop its server and start it again on the same port. In between, no other test may
    get the port: each port is given once, and each lane of tests has its own ports. No outgoing
    connection may get it either, or a client could connect to itself: these ports lie below the
    range that the kernel uses for them.
    """
    while True:
        port = _random.randrange(_FIRST + _LANE, _LAST + 1, _LANES)
        with contextlib.suppress(OSError):
            if port not in _given:
                for one in (port, *(port + distance for distance in beside)):
                    socket.create_server(("127.0.0.1", one)).close()
                _given.add(port)
                return port
