"""Senders of callbacks, each run as a process of its own: Verve's, httpx and aiohttp.

    python bench/contenders/programs/callback_senders.py SENDER PORT POSTS CONCURRENCY

Prints the seconds and the CPU seconds of the posts, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from urllib.parse import quote

_BODY = b'{"unique_request_count": 4711}'
_HEADERS = {"content-type": "application/json"}
DRAIN = 60.0
"""Seconds that Verve's sender has at its end to send the callbacks it took."""


def main() -> None:
    """Run the sender that the command line names."""
    sender, port, posts, concurrency = sys.argv[1], *map(int, sys.argv[2:])
    # The first part warms up: imports are not measured.
    for part in (warm_up(posts), posts):
        used = resource.getrusage(resource.RUSAGE_SELF)
        began = time.perf_counter()
        if sender == "verve":
            verve(port, part)
        else:
            asyncio.run({"httpx": _httpx, "aiohttp": _aiohttp}[sender](port, part, concurrency))
        took = time.perf_counter() - began
        now = resource.getrusage(resource.RUSAGE_SELF)
    cpu = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    print(json.dumps({"seconds": took, "cpu_seconds": cpu}))


def warm_up(posts: int) -> int:
    """Return the number of posts that are sent before the measured ones."""
    return max(1, posts // 20)


def verve(port: int, posts: int) -> None:
    """Send accepts that name an endpoint, as fast as cells are free."""
    from verve import Counter, _verve  # noqa: PLC0415 - needed by one sender only

    with Counter() as counter:
        sender = _verve.Callbacks(counter, allow=["127.0.0.1"], log="summary")
        for number in range(posts):
            endpoint = quote(f"http://127.0.0.1:{port}/hook/{number}", safe="")
            query = f"id={number}&endpoint={endpoint}"
            while sender.accept(query)[0] != 200:
                time.sleep(0.001)
        sender.stop(DRAIN)
        sender.close()


async def _httpx(port: int, posts: int, concurrency: int) -> None:
    import httpx  # noqa: PLC0415 - needed by one sender only

    numbers = iter(range(posts))
    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    async with httpx.AsyncClient(limits=limits, trust_env=False) as client:

        async def work() -> None:
            for number in numbers:
                url = f"http://127.0.0.1:{port}/hook/{number}"
                (await client.post(url, content=_BODY, headers=_HEADERS)).raise_for_status()

        await asyncio.gather(*(work() for _ in range(concurrency)))


async def _aiohttp(port: int, posts: int, concurrency: int) -> None:
    import aiohttp  # noqa: PLC0415 - needed by one sender only

    numbers = iter(range(posts))
    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def work() -> None:
            for number in numbers:
                url = f"http://127.0.0.1:{port}/hook/{number}"
                async with session.post(url, data=_BODY, headers=_HEADERS) as response:
                    response.raise_for_status()

        await asyncio.gather(*(work() for _ in range(concurrency)))


if __name__ == "__main__":
    main()
