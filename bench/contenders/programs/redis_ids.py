"""Adds ids to Redis by one of Verve's strategies, as a process of its own.

    python bench/contenders/programs/redis_ids.py STRATEGY PORT IDS BATCH

Prints the cost per id as JSON: seconds, CPU time of the client and of Redis, bytes kept and sent.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from verve._verve import SHARDS, shard_of
from verve.stores import RedisClient, RedisKeys, RedisSets
from verve.stores.address import Address

WINDOW = 1_800_000_000
_WARM_UP = 20_000


async def main(strategy: str, port: int, ids: int, batch: int) -> dict[str, float]:
    """Add `ids` distinct ids and return the figures and the count."""
    client = RedisClient(Address.parse(f"redis://127.0.0.1:{port}"))
    kind: type[RedisSets | RedisKeys] = RedisSets if strategy == "sets" else RedisKeys
    store = kind(client, "bench", 60)
    try:
        await _add(store, range(-_WARM_UP, 0), batch, WINDOW - 60)
        before = await _info(client)
        used, began = time.process_time(), time.perf_counter()
        took = await _add(store, range(ids), batch, WINDOW)
        used, seconds = time.process_time() - used - took, time.perf_counter() - began
        after = await _info(client)
        counted = (await store.count(WINDOW, [])).ids
    finally:
        await client.close()
    changed = {name: after[name] - before[name] for name in before}
    return {
        "counted": counted,
        "per_second": ids / seconds,
        "client_cpu_us": used / ids * 1e6,
        "redis_cpu_us": (changed["used_cpu_user"] + changed["used_cpu_sys"]) / ids * 1e6,
        "bytes_per_id": changed["used_memory"] / ids,
        "sent_per_id": changed["total_net_input_bytes"] / ids,
    }


async def _add(store: RedisSets | RedisKeys, ids: range, batch: int, window: int) -> float:
    """Add ids in batches; return the CPU time of making the batches, which Rust does in Verve."""
    took = 0.0
    for start in range(0, len(ids), batch):
        began = time.process_time()
        groups: dict[int, list[bytes]] = {shard: [] for shard in range(SHARDS)}
        for id in ids[start : start + batch]:
            groups[shard_of(id)].append(id.to_bytes(8, "little", signed=True))
        filled = {shard: members for shard, members in groups.items() if members}
        took += time.process_time() - began
        await store.add(window, filled)
    return took


async def _info(client: RedisClient) -> dict[str, float]:
    found: dict[str, Any] = {}
    for section in ("cpu", "memory", "stats"):
        found |= await client.redis.execute_command("INFO", section)
    names = ("used_cpu_user", "used_cpu_sys", "used_memory", "total_net_input_bytes")
    return {name: float(found[name]) for name in names}


if __name__ == "__main__":
    _, named, *numbers = sys.argv
    at, how_many, together = map(int, numbers)
    print(json.dumps(asyncio.run(main(named, at, how_many, together))))
