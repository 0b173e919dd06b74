"""Posts a second and CPU a post: Verve's sender beside httpx and aiohttp, each on one core.

    .venv/bin/python bench/callbacks.py [--posts N] [--concurrency N]

Each sender is a process of its own on core 0, the receiver (`rust/callbacks/examples/storm.rs`) on
core 1; every post is counted there. aiohttp takes part where it is installed.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

_ROOT = Path(__file__).parent.parent
_BODY = b'{"unique_request_count": 4711}'
_HEADERS = {"content-type": "application/json"}


def verve(port: int, posts: int, _concurrency: int) -> None:
    """Accepts that name an endpoint, as fast as cells are free."""
    from verve import Counter, _verve  # noqa: PLC0415 - of one contender

    with Counter() as counter:
        sender = _verve.Callbacks(counter, allow=["127.0.0.1"], log="summary")
        for number in range(posts):
            endpoint = quote(f"http://127.0.0.1:{port}/hook/{number}", safe="")
            query = f"id={number}&endpoint={endpoint}"
            while sender.accept(query)[0] != 200:
                time.sleep(0.001)
        sender.stop(60)
        sender.close()


async def _httpx(port: int, posts: int, concurrency: int) -> None:
    import httpx  # noqa: PLC0415 - of one contender

    numbers = iter(range(posts))
    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    async with httpx.AsyncClient(limits=limits, trust_env=False) as client:

        async def work() -> None:
            for number in numbers:
                url = f"http://127.0.0.1:{port}/hook/{number}"
                (await client.post(url, content=_BODY, headers=_HEADERS)).raise_for_status()

        await asyncio.gather(*(work() for _ in range(concurrency)))


async def _aiohttp(port: int, posts: int, concurrency: int) -> None:
    import aiohttp  # noqa: PLC0415 - of one contender

    numbers = iter(range(posts))
    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def work() -> None:
            for number in numbers:
                url = f"http://127.0.0.1:{port}/hook/{number}"
                async with session.post(url, data=_BODY, headers=_HEADERS) as response:
                    response.raise_for_status()

        await asyncio.gather(*(work() for _ in range(concurrency)))


def send(sender: str, port: int, posts: int, concurrency: int) -> None:
    """Be one of the senders, and print its seconds and its CPU seconds."""
    os.sched_setaffinity(0, {0})
    # Imports and the like are not measured.
    for part in (max(1, posts // 20), posts):
        used = resource.getrusage(resource.RUSAGE_SELF)
        began = time.perf_counter()
        if sender == "verve":
            verve(port, part, concurrency)
        else:
            asyncio.run({"httpx": _httpx, "aiohttp": _aiohttp}[sender](port, part, concurrency))
        took = time.perf_counter() - began
        now = resource.getrusage(resource.RUSAGE_SELF)
    cpu = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    print(took, cpu)


def measure(sender: str, posts: int, concurrency: int) -> tuple[float, float]:
    """Posts a second, and microseconds of CPU a post."""
    build = ["cargo", "build", "--release", "--quiet", "--package", "verve-callbacks"]
    subprocess.run([*build, "--example", "storm"], cwd=_ROOT, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", _ROOT / "target"))
    command: list[str | Path] = ["taskset", "-c", "1", target / "release/examples/storm", "receive"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as receiver:
        assert receiver.stdin is not None  # noqa: S101 - they are pipes
        assert receiver.stdout is not None  # noqa: S101
        port = receiver.stdout.readline().strip()
        one = [sys.executable, __file__, "--send", sender, "--port", port]
        sizes = ["--posts", str(posts), "--concurrency", str(concurrency)]
        done = subprocess.run([*one, *sizes], check=True, capture_output=True, text=True)
        took, cpu = map(float, done.stdout.split())
        receiver.stdin.close()
        came = int(receiver.stdout.read())
    wanted = posts + max(1, posts // 20)
    if came != wanted:
        raise SystemExit(f"{sender}: {came} posts came, not {wanted}")
    return posts / took, cpu / posts * 1e6


def main() -> None:
    """Measure all, in turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--posts", type=int, default=100_000)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--send", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.send:
        send(options.send, options.port, options.posts, options.concurrency)
        return
    print(f"{'sender':<10} {'posts/s':>10} {'CPU us a post':>14}")
    for sender, share in (("verve", 1), ("aiohttp", 10), ("httpx", 50)):
        if importlib.util.find_spec(sender) is None:
            print(f"{sender:<10} is not installed")
            continue
        rate, cpu = measure(sender, max(100, options.posts // share), options.concurrency)
        print(f"{sender:<10} {rate:>10,.0f} {cpu:>14.1f}")


if __name__ == "__main__":
    main()
