"""Reads the published counts from Kafka, in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import queue
import threading
from dataclasses import dataclass
from typing import Self

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from .topology import TOPIC

_PAUSE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Published:
    """A count as it was published; of a window, the highest revision holds."""

    window_start: int
    unique: int
    revision: int
    degraded: bool
    """Whether the ids of a host may be missing. A later revision will have them."""


class Counts:
    """The counts that arrive while the block lasts, in `arrived`."""

    def __init__(self, port: int) -> None:
        self.arrived: queue.SimpleQueue[Published] = queue.SimpleQueue()
        self._address = f"127.0.0.1:{port}"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._over.wait(_PAUSE_SECONDS):
            # The topic is there once a host has made it.
            with contextlib.suppress(KafkaError, OSError, TimeoutError):
                asyncio.run(self._read())

    async def _read(self) -> None:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._address, auto_offset_reset="earliest", fetch_max_wait_ms=100
        )
        await consumer.start()
        try:
            if TOPIC not in await consumer.topics():
                return
            consumer.subscribe([TOPIC])
            while not self._over.is_set():
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    for record in records:
                        self._take(record.key, record.value)
        finally:
            await consumer.stop()

    def _take(self, key: bytes | None, value: bytes | None) -> None:
        assert key is not None  # noqa: S101 - docs/kafka.md says so
        assert value is not None  # noqa: S101 - the same
        message = json.loads(value)
        self.arrived.put(
            Published(
                int(key.decode().rpartition(":")[2]),
                message["unique_request_count"],
                message["revision"],
                message["degraded"],
            )
        )
