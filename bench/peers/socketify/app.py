"""socketify (uWebSockets) and a set: among the fastest HTTP servers of Python, with a count.

    taskset -c 0 python app.py 127.0.0.1 8108

One process and one thread, so one set is enough and the count is right.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from importlib import import_module
from typing import Any, Protocol, Self

# It comes without types.
socketify: Any = import_module("socketify")

WINDOW = int(os.environ.get("PEER_WINDOW", "60"))


class Request(Protocol):
    """What is used of a request."""

    def get_query(self, name: str) -> str | None:
        """Return a parameter of the query."""


class Answer(Protocol):
    """What is used of an answer: the status, then headers, then the end."""

    def write_status(self, status: int) -> Self:
        """Set the status, unless it is 200."""

    def write_header(self, name: str, value: str) -> Self:
        """Add a header."""

    def end(self, body: str) -> None:
        """Send the answer."""


class Windows:
    """The ids of the open window."""

    def __init__(self) -> None:
        self.seen: set[int] = set()
        self.start = int(time.time()) // WINDOW * WINDOW

    def rotate(self) -> None:
        """Log the window and start the next one. Nothing runs in between: there is one thread."""
        line = f"window_start={self.start} Unique requests in the last minute: {len(self.seen)}"
        print(line, file=sys.stderr, flush=True)
        self.seen.clear()
        self.start = int(time.time()) // WINDOW * WINDOW

    async def rotate_for_ever(self) -> None:
        """Rotate at each boundary of the wall clock."""
        while True:
            await asyncio.sleep(self.start + WINDOW - time.time())
            # A timer may be early by its resolution.
            if time.time() >= self.start + WINDOW:
                self.rotate()


def main() -> None:
    """Serve until SIGTERM, then log the open window."""
    windows = Windows()

    def accept(answer: Answer, request: Request) -> None:
        try:
            windows.seen.add(int(request.get_query("id") or ""))
        except ValueError:
            answer.write_status(400).end("failed")
        else:
            answer.write_header("cache-control", "no-store")
            answer.end("ok")

    def stop(*_: object) -> None:
        windows.rotate()
        os._exit(0)

    app = socketify.App()
    app.get("/api/verve/accept", accept)
    app.listen(socketify.AppListenOptions(port=int(sys.argv[2]), host=sys.argv[1]))
    signal.signal(signal.SIGTERM, stop)
    app.loop.loop.create_task(windows.rotate_for_ever())
    app.run()


if __name__ == "__main__":
    main()
