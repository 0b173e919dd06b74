"""A program that embeds Granian's server in its own event loop, and the application in that."""

from __future__ import annotations

import asyncio
import signal
import sys

from granian.server.embed import Server

from tests.support.http.marked import target


async def _main() -> None:
    server = Server(target, port=int(sys.argv[1]))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.stop)
    await server.serve()


asyncio.run(_main())
