"""Keeps the count of each window from Kafka: of messages with the same key the highest revision.

    pip install aiokafka
    python examples/kafka_consumer.py localhost:9092

Verve delivers at least once, so a message may come twice, and a window may be published anew with a
higher revision. A consumer that keeps a count only if its revision is higher than the one it has
gets each window right, in whatever order and however often it reads. Here the counts are kept in
memory and printed; a database would do the same with an upsert:

    INSERT INTO counts (key, revision, unique_request_count) VALUES (...)
    ON CONFLICT (key) DO UPDATE SET ... WHERE excluded.revision > counts.revision
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer

TOPIC = "unique-request-count"


@dataclass
class Counts:
    """The newest value of each key."""

    by_key: dict[str, dict[str, Any]] = field(default_factory=dict)

    def take(self, key: str, value: dict[str, Any]) -> bool:
        """Keep a value, unless it is known already; whether it was kept."""
        known = self.by_key.get(key)
        if known is not None and known["revision"] >= value["revision"]:
            return False
        self.by_key[key] = value
        return True


async def follow(brokers: str, counts: Counts) -> None:
    """Read the topic from its beginning, and go on for ever."""
    consumer = AIOKafkaConsumer(TOPIC, bootstrap_servers=brokers, auto_offset_reset="earliest")
    await consumer.start()
    try:
        async for message in consumer:
            value = json.loads(message.value)
            if counts.take(message.key.decode(), value):
                degraded = " (a revision will follow)" if value["degraded"] else ""
                print(
                    f"{value['window_start']} {value['source']}: "
                    f"{value['unique_request_count']}{degraded}"
                )
    finally:
        await consumer.stop()


if __name__ == "__main__":
    asyncio.run(follow(sys.argv[1] if len(sys.argv) > 1 else "localhost:9092", Counts()))
