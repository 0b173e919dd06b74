"""A proxy in front of a server that speaks S3: it fails, hangs, and loses replies.

Each request gets a fate. The proxy notes each put that reached the server, with its contents. It
closes each connection after one request, so a caller connects anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import select
import socket
import threading
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from tests.support.http.accepting import Accepting

if TYPE_CHECKING:
    from collections.abc import Callable

_HEAD_END = b"\r\n\r\n"
_LOOK_SECONDS = 0.05


class Fate(StrEnum):
    """What becomes of a request."""

    SERVED = "served"
    REFUSED = "refused"
    """The connection ends, and the server gets nothing."""
    CUT = "cut"
    """The server gets half of the request."""
    HUNG = "hung"
    """Nothing goes on and nothing comes, until the caller gives up."""
    LOST = "lost"
    """The request is served. Its reply is not sent."""
    LOST_AND_HUNG = "lost and hung"
    """The same, and the caller has to give up."""
    HALF = "half"
    """The request is served. Half of its reply is sent."""


@dataclass(frozen=True, slots=True)
class Put:
    """One put that the server answered well."""

    path: str
    body: bytes

    @property
    def digest(self) -> str:
        """The contents in short."""
        return hashlib.sha256(self.body).hexdigest()


class FaultyStore(Accepting):
    """The proxy, for as long as the block lasts. `fate` is asked for each method and path."""

    def __init__(self, upstream: str) -> None:
        super().__init__()
        self.fate: Callable[[str, str], Fate] = lambda _method, _path: Fate.SERVED
        self.puts: list[Put] = []
        self.fates: list[Fate] = []
        self._upstream = urlsplit(upstream)
        self._over = threading.Event()
        # One request at the server at once, so that none overtakes another.
        self._turn = threading.Lock()

    @property
    def url(self) -> str:
        """The address of the proxy."""
        return f"http://127.0.0.1:{self.port}"

    def __exit__(self, *error: object) -> None:
        self._over.set()
        super().__exit__(*error)

    def take(self, caller: socket.socket) -> None:
        """Serve the request of a connection."""
        self._begin(self._serve, caller)

    def _serve(self, caller: socket.socket) -> None:
        with caller, contextlib.suppress(OSError):
            caller.settimeout(30)
            received = _request(caller)
            if received is None:
                return
            head, body = received
            method, target, _ = head.split(b" ", 2)
            path = unquote(urlsplit(target.decode()).path)
            fate = self.fate(method.decode(), path)
            self.fates.append(fate)
            if fate is Fate.REFUSED:
                return
            if fate is Fate.CUT:
                self._cut(head, body)
                return
            if fate is Fate.HUNG:
                self._hang(caller)
                return
            with self._turn:
                if _is_gone(caller, 0):
                    return
                reply = self._ask(head, body)
                if method == b"PUT" and reply.split(b" ", 2)[1] == b"200":
                    self.puts.append(Put(path, body))
            if fate is Fate.SERVED:
                caller.sendall(reply)
            elif fate is Fate.HALF:
                caller.sendall(reply[: len(reply) // 2])
            elif fate is Fate.LOST_AND_HUNG:
                self._hang(caller)

    def _connect(self) -> socket.socket:
        return socket.create_connection((self._upstream.hostname, self._upstream.port), 30)

    def _ask(self, head: bytes, body: bytes) -> bytes:
        """The reply of the server."""
        with self._connect() as server:
            server.sendall(_closing(head) + body)
            reply = bytearray()
            while part := server.recv(65_536):
                reply += part
        return bytes(reply)

    def _cut(self, head: bytes, body: bytes) -> None:
        """Send half of a request, then end the connection."""
        asked = _closing(head) + body
        with self._connect() as server:
            server.sendall(asked[: len(asked) - max(1, (len(body) or len(asked)) // 2)])

    def _hang(self, caller: socket.socket) -> None:
        while not self._over.is_set() and not _is_gone(caller, _LOOK_SECONDS):
            pass


def _request(caller: socket.socket) -> tuple[bytes, bytes] | None:
    """The head and the body of a request; None if the caller ends before it does."""
    received = bytearray()
    while _HEAD_END not in received:
        part = caller.recv(65_536)
        if not part:
            return None
        received += part
    head, _, body = bytes(received).partition(_HEAD_END)
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            length = int(value)
        assert name.strip().lower() != b"transfer-encoding", head
    while len(body) < length:
        part = caller.recv(65_536)
        if not part:
            return None
        body += part
    return head + _HEAD_END, body


def _closing(head: bytes) -> bytes:
    """The head with a header by which the server closes the connection."""
    first, _, rest = head.partition(b"\r\n")
    return first + b"\r\nconnection: close\r\n" + rest


def _is_gone(caller: socket.socket, seconds: float) -> bool:
    """Whether the caller has given up; waits so long for it."""
    try:
        readable, _, _ = select.select([caller], [], [], seconds)
        return bool(readable) and caller.recv(1, socket.MSG_PEEK) == b""
    except OSError:
        return True
