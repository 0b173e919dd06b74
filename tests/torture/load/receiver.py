"""The receiver of the callbacks: it notes the count of each."""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.torture.load.tally import Tally

_HEAD = re.compile(rb"POST /([0-9]+) HTTP/1\.1\r\n")
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_BODY = re.compile(rb'\{"unique_request_count": ([0-9]+)\}')


class Receiver:
    """Serves the port of the configuration."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._server: asyncio.Server | None = None

    async def start(self, port: int) -> None:
        """Begin to receive."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, backlog=4_096)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = _LENGTH.search(head)
                body = await reader.readexactly(0 if length is None else int(length[1]))
                self._note(head, body)
                writer.write(b"HTTP/1.1 204 X\r\n\r\n")
                await writer.drain()
        writer.transport.abort()

    def _note(self, head: bytes, body: bytes) -> None:
        target, count = _HEAD.match(head), _BODY.fullmatch(body)
        self._tally.counts["callbacks"] += 1
        if target is None or count is None:
            self._tally.fault(f"this is no callback: {head!r} {body!r}")
            return
        self._tally.called[int(target[1])].append(int(count[1]))
