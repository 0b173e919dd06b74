"""A plain connection to Redis for tests, and a function that waits."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "test"
"""The connection name and the user name of tests. The connections of Verve are named `verve`."""
# Commands that block Redis for long, or that remove the data of other programs.
FORBIDDEN = frozenset({"KEYS", "SCAN", "SSCAN", "HSCAN", "ZSCAN", "FLUSHALL", "FLUSHDB"})
_PATIENCE = 20.0
T = TypeVar("T")


class RedisError(AssertionError):
    """A Redis server did not do what the test required."""


class Connection:
    """A plain connection with RESP2, used by tests only."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 5)
        self._file = self._socket.makefile("rb")
        try:
            # A sentinel has no such user, and requires none.
            with contextlib.suppress(RedisError):
                self.command("AUTH", NAME, "")
            # A `Monitor` recognises the connection by this name.
            self.command("CLIENT", "SETNAME", NAME)
        except OSError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. A read in another thread ends."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._file.close()
        self._socket.close()

    def command(self, *words: str | int | bytes) -> Any:  # noqa: ANN401 - what Redis answers
        """Run a command."""
        parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        packed = b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        self._socket.sendall(b"*%d\r\n%s" % (len(parts), packed))
        return self.read()

    def read(self) -> Any:  # noqa: ANN401 - what Redis answers
        """Read one answer."""
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the connection ended")
        kind, rest = line[:1], line[1:-2]
        match kind:
            case b"+":
                return rest
            case b"-":
                raise RedisError(rest.decode())
            case b":":
                return int(rest)
            case b"$":
                return None if rest == b"-1" else self._file.read(int(rest) + 2)[:-2]
            case b"*":
                return None if rest == b"-1" else [self.read() for _ in range(int(rest))]
            case _:
                raise RedisError(f"not RESP2: {line!r}")


def wait_until(met: Callable[[], T | None], what: str, timeout: float = _PATIENCE) -> T:
    """Call `met` until its result is true, and return the result."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            if found := met():
                return found
        time.sleep(0.02)
    raise RedisError(f"not {what} within {timeout} s")
