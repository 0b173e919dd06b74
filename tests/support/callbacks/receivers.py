"""Receivers of callbacks, well-behaved and hostile: real servers on ports of the loopback.

    with Receiver(answer(500), answer(200)) as receiver:
        service.get(f"/api/verve/accept?id=7&endpoint={quote(receiver.url('/hook'))}")
        receiver.wait_until(lambda posts: len(posts) == 2)
        assert posts[0].count == 1

Each argument is the behaviour for one post, in order; the last one holds for all further posts.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable

    Behaviour = Callable[["Post", asyncio.StreamWriter], Awaitable[None]]


class NotReceivedError(AssertionError):
    """The expected posts did not arrive."""


@dataclass(frozen=True, slots=True)
class Post:
    """One request as received."""

    at: float
    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def count(self) -> int:
        """The count in the body, which must have exactly the documented form."""
        count = int(json.loads(self.body)["unique_request_count"])
        assert self.body == b'{"unique_request_count": %d}' % count
        return count


def answer(status: int, *headers: str, body: bytes = b"") -> Behaviour:
    """A behaviour that answers at once."""
    head = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status} X", *headers))

    async def behave(_post: Post, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()

    return behave


async def silence(_post: Post, _writer: asyncio.StreamWriter) -> None:
    """Never answer."""
    await asyncio.sleep(3_600)


async def drip(_post: Post, writer: asyncio.StreamWriter) -> None:
    """Answer with one byte per second."""
    for byte in b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n":
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(1)


async def flood(_post: Post, writer: asyncio.StreamWriter) -> None:
    """Answer 200 with a body of 100 MB."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n")
    for _ in range(1_000):
        writer.write(bytes(100_000))
        await writer.drain()


async def reset(_post: Post, writer: asyncio.StreamWriter) -> None:
    """Reset the connection."""
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    raise ConnectionResetError


async def garbage(_post: Post, writer: asyncio.StreamWriter) -> None:
    """Answer with something other than HTTP."""
    writer.write(b"220 mail.example ESMTP\r\n" * 100)
    await writer.drain()
    raise ConnectionResetError


class Gate:
    """A behaviour that answers no post until it is opened."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self.close()

    def open(self) -> None:
        """Answer all posts, those that wait included."""
        self._open.set()

    def close(self) -> None:
        """Let posts wait from now on."""
        self._open.clear()

    async def __call__(self, post: Post, writer: asyncio.StreamWriter) -> None:
        """Answer once the gate is open."""
        while not self._open.is_set():  # noqa: ASYNC110 - another thread opens it
            await asyncio.sleep(0.02)
        await _OK(post, writer)


_OK = answer(200)


async def _rounds() -> None:
    """Some rounds of the loop: a moment may be one round where the machine stands still."""
    for _ in range(10):
        await asyncio.sleep(0)


class Receiver:
    """One server, in its own thread."""

    def __init__(
        self,
        *behaviours: Behaviour,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.posts: list[Post] = []
        self.connections = 0
        self._behaviours = behaviours or (_OK,)
        self._tls = tls
        self._writers: set[asyncio.StreamWriter] = set()
        self._changed = threading.Condition()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=4_096)
        self.host = host
        self.port = int(self._socket.getsockname()[1])
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def url(self, path: str = "/") -> str:
        """The address of a path."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'http' if self._tls is None else 'https'}://{host}:{self.port}{path}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def wait_until(self, met: Callable[[list[Post]], bool], timeout: float = 10) -> list[Post]:
        """Wait until `met` holds for the posts, and return all of them."""
        with self._changed:
            if not self._changed.wait_for(lambda: met(self.posts), timeout):
                raise NotReceivedError(f"after {timeout} s there are {len(self.posts)} posts")
            return list(self.posts)

    def wait_for(self, number: int, timeout: float = 10) -> list[Post]:
        """Wait for `number` posts, and return all of them."""
        return self.wait_until(lambda posts: len(posts) >= number, timeout)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._serve, sock=self._socket, ssl=self._tls)
        )
        self._loop.run_forever()
        # A connection that was just accepted gets to `_serve`, and so onto the list of those to
        # close. The server must not be closed before: asyncio would forget the connection.
        self._loop.remove_reader(self._socket)
        self._loop.run_until_complete(_rounds())
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        for writer in self._writers:
            # Python 3.11 forgets the protocol of a TLS transport that is closed twice.
            with contextlib.suppress(AttributeError):
                writer.transport.abort()
        # What was aborted is closed a moment later.
        self._loop.run_until_complete(_rounds())
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                post = await self._read(reader)
                with self._changed:
                    number = len(self.posts)
                    self.posts.append(post)
                    self._changed.notify_all()
                behaviour = self._behaviours[min(number, len(self._behaviours) - 1)]
                await behaviour(post, writer)
        if not self._loop.is_closed():
            writer.close()

    @staticmethod
    async def _read(reader: asyncio.StreamReader) -> Post:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip("\r\n").split("\r\n")
        method, target, _ = first.split(" ")
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        return Post(time.time(), method, target, headers, body)
